"""The pieces of work of which a run consists, each built to be tried or counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, DiTTransformer2DModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn import functional as F

from lgd.classifiers.architectures import Classifier, batch_size_for, new_classifier
from lgd.config import ClassifierConfig, Config, Precision
from lgd.diffusion.autoencoder import Latents, Pixels, open_latents, small_decoder
from lgd.diffusion.folder import load_source
from lgd.diffusion.generator import Generator, new_denoiser, without_own_dropout
from lgd.diffusion.pretrained import PREFIX
from lgd.diffusion.train import begin, half_precision, predict
from lgd.diffusion.types import Step
from lgd.distillation.methods import method_named
from lgd.errors import UserError
from lgd.evaluation.protocols import training_for
from lgd.guidance.classifier_free import classifier_free
from lgd.guidance.influence import Surrogate, influence
from lgd.guidance.learnability import in_window, learnability_guided
from lgd.guidance.score import learnability

from .networks import WIDTHS, XL, sd_vae
from .sizes import PIPELINES, Sizes

Built = tuple[Callable[[], Any], list[nn.Module]]


@dataclass(frozen=True)
class Workload:
    """One call that treats so many items: images, or steps of a generator's training."""

    items: int
    build: Callable[[], Built]
    """the call, and the networks that it needs; within torch's fake tensors nothing is computed"""
    half: bool
    """in bfloat16"""


@dataclass(frozen=True)
class Workloads:
    """Of one configuration."""

    config: Config
    sizes: Sizes
    device: str

    def classifier(self, config: ClassifierConfig) -> Classifier:
        ones = torch.ones(self.sizes.shape[0])
        return self.placed(new_classifier(config, self.sizes.shape, self.sizes.classes, ones / 2, ones / 4))

    def placed(self, network: Any) -> Any:
        """On the device; what is without data can not be moved, and need not be."""
        return network if self.device == "cpu" else network.to(self.device)

    def training(self, config: ClassifierConfig, images: int) -> Workload:
        """One step of a classifier's, on a set of so many images."""
        batch, half = min(config.training.batch_size, images), config.training.precision == "bfloat16"

        def build() -> Built:
            network = self.classifier(config).train()
            x = torch.rand(batch, *self.sizes.shape, device=self.device)
            y = torch.zeros(batch, dtype=torch.long, device=self.device)

            def step() -> None:
                with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
                    logits = network(x).float()
                learn(list(network.parameters()), F.cross_entropy(logits, y))

            return step, [network]

        return Workload(batch, build, half)

    def judging(self, architecture: str, images: int) -> Workload:
        """One step of a judge's training on a set of so many images."""
        evaluation, classes = self.config.evaluation, self.sizes.classes
        training = training_for(evaluation, -(-images // classes), self.sizes.shape, classes)
        return self.training(replace(evaluation.classifier, architecture=architecture, training=training), images)

    def testing(self, architecture: str) -> Workload:
        """A judge's look at a batch of test images."""
        config = replace(self.config.evaluation.classifier, architecture=architecture)
        batch = min(batch_size_for(self.sizes.shape), self.sizes.test)

        def build() -> Built:
            network, x = self.classifier(config).eval(), torch.rand(batch, *self.sizes.shape, device=self.device)
            return without_gradient(lambda: network(x)), [network]

        return Workload(batch, build, half=False)

    def generator_step(self) -> Workload:
        """One step of the generator's training."""
        own = self.config.generator
        half = half_precision(own, self.device.partition(":")[0])

        def build() -> Built:
            denoiser: Any = self.generator("float32").denoiser.train().requires_grad_(True)
            C, side = denoiser.config.in_channels, denoiser.config.sample_size
            batch = min(own.batch_size, self.sizes.images)
            x = torch.randn(batch, C, side, side, device=self.device)
            t = torch.zeros(batch, dtype=torch.long, device=self.device)
            # The optimiser's moments and the average
            extra = [torch.zeros_like(p) for p in denoiser.parameters() for _ in range(3)]
            state = begin(denoiser, own, batch)
            trained = state.optimiser.param_groups[0]["params"]

            def step() -> None:
                learn(trained, predict(state, x, t, t, half).square().mean())

            return step, [denoiser, nn.ParameterList(extra)]

        return Workload(1, build, half)

    def generator(self, precision: Precision) -> Generator:
        """Untrained where the trained one is not here. Errors: UserError for a pipeline of unknown size."""
        own, shape = self.config.generator, self.sizes.shape
        names, ids = tuple(map(str, range(self.sizes.classes))), tuple(range(self.sizes.classes))
        scheduler = dict(DDPMScheduler().config)
        autoencoder: Pixels | Latents = Pixels()
        place = Path(own.source.removeprefix(PREFIX)).expanduser() if own.source else None
        if place is not None and place.is_dir():
            with unset_fake_temporarily():
                found = load_source(own.source, shape, self.device, precision, own.time_frequencies)
            return replace(found, class_names=names, class_ids=tuple(i % found.null_id for i in ids))
        if place is not None:
            side = PIPELINES.get(own.source.removeprefix(PREFIX).partition("@")[0])
            if side is None:
                raise UserError(f"generator.source: {own.source} is not here, so its size is not known")
            blocks, heads, head_width = XL
            with made_in(precision):
                denoiser: Any = DiTTransformer2DModel(
                    num_layers=blocks,
                    num_attention_heads=heads,
                    attention_head_dim=head_width,
                    in_channels=4,
                    out_channels=8,
                    sample_size=side,
                )
                network = self.placed(sd_vae(WIDTHS["sd"]).eval().requires_grad_(False))
            autoencoder = Latents(network, shape, 8 * side, (0.0,), (1 / 0.18215,))
            scheduler = dict(DDPMScheduler(variance_type="learned_range").config)
        else:
            latent = shape
            if own.autoencoder:
                with unset_fake_temporarily():
                    autoencoder = open_latents(Path(own.autoencoder), shape, own.image_size, precision)
                self.placed(autoencoder.network)
                latent = autoencoder.shape
            with made_in(precision):
                denoiser = new_denoiser(own, latent, self.sizes.classes)
        denoiser = self.placed(without_own_dropout(denoiser).eval().requires_grad_(False))
        return Generator(denoiser, scheduler, autoencoder, names, ids)

    def images(self, method: str, kept: float) -> list[tuple[float, Workload]]:
        """SamplingContext so many kept images: how many images go through which step, and through the decoder."""
        config = self.config
        single = not method_named(method).needs_learner
        kappa = 1 if single else config.stages.candidates
        steps, early = config.sampling.steps, config.stages.halving if kappa > 1 else 0
        window = config.guidance
        if method == "igd" and config.influence.window:
            window = replace(window, window=config.influence.window)
        guides = method_named(method).needs_surrogate or (method_named(method).needs_learner and window.strength > 0)
        guided = plain = 0.0
        for index in range(steps):
            through = kept * (kappa if index >= early else 1)
            if guides and in_window(Step(index, 0, 0.5), window):
                guided += through
            else:
                plain += through
        decoded = kept * (1 if early else kappa) + (kept * kappa if early else 0)
        rivals = kappa * min(config.stages.classes_per_unit, self.sizes.classes)
        batch = min(config.sampling.batch_size, rivals)
        return [
            (plain, self.step(batch, None)),
            (guided, self.step(batch, "influence" if method_named(method).needs_surrogate else "score")),
            (decoded, self.decoding(batch)),
        ]

    def step(self, batch: int, guidance: str | None) -> Workload:
        """One step of sampling a batch."""
        config = self.config
        half = config.sampling.precision == "bfloat16"

        def build() -> Built:
            generator = self.generator(config.sampling.precision)
            labels = torch.zeros(batch, dtype=torch.long, device=self.device)
            x = torch.randn(batch, *generator.latent_shape, device=self.device)
            sampling = config.sampling
            inner = classifier_free(generator, labels, sampling.classifier_free_scale, sampling.guided_channels)
            networks: list[nn.Module] = [generator.denoiser]
            here = Step(20, 400, 0.2)
            if guidance is None:
                return without_gradient(lambda: inner(x, here)), networks
            decoder, used = self.guiding(generator)
            networks += used
            if guidance == "score":
                learners = [self.frozen(config.learner) for _ in range(config.stages.learners)]
                reference = self.frozen(config.reference)
                networks += [*learners, reference]

                def score(z: Tensor) -> Tensor:
                    return learnability(decoder.decode(z), labels, learners, reference, config.guidance.omega)
            else:
                surrogate = self.surrogate()
                networks.append(surrogate.classifier)

                def score(z: Tensor) -> Tensor:
                    return influence(decoder.decode(z), labels, surrogate)

            own = replace(config.guidance, window=(0, 50), every=1, strength=1.0)
            guided = learnability_guided(inner, score, own)
            return without_gradient(lambda: guided(x, here)), networks

        return Workload(batch, build, half)

    def decoding(self, batch: int) -> Workload:
        def build() -> Built:
            generator = self.generator(self.config.sampling.precision)
            z = torch.randn(batch, *generator.latent_shape, device=self.device)
            return without_gradient(lambda: generator.autoencoder.decode(z)), networks_of(generator.autoencoder)

        return Workload(batch, build, self.config.sampling.precision == "bfloat16")

    def guiding(self, generator: Generator) -> tuple[Any, list[nn.Module]]:
        """What decodes for guidance, and its networks."""
        folder = self.config.guidance.decoder
        if not folder or not isinstance(generator.autoencoder, Latents):
            return generator.autoencoder, networks_of(generator.autoencoder)
        with unset_fake_temporarily():
            small = small_decoder(Path(folder), generator.autoencoder, self.config.sampling.precision)
        self.placed(small.network)
        return small, [small.network]

    def frozen(self, config: ClassifierConfig) -> Classifier:
        return self.classifier(config).eval().requires_grad_(False)

    def surrogate(self) -> Surrogate:
        own = self.config.influence.surrogate
        classifier = self.frozen(own.classifier)
        parameters = {name: torch.stack([p] * own.checkpoints) for name, p in classifier.named_parameters()}
        size = sum(p.numel() for p in classifier.parameters())
        # On shapes without data every label reads as 1.
        towards = dict.fromkeys((0, 1), torch.ones(own.checkpoints, size, device=self.device))
        return Surrogate(classifier, parameters, towards)


@contextmanager
def made_in(precision: Precision) -> Iterator[None]:
    """What is made in the block has weights of this precision; torch cannot cast what is without data."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, precision))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def networks_of(autoencoder: Any) -> list[nn.Module]:
    return [autoencoder.network] if isinstance(autoencoder, Latents) else []


def learn(parameters: list[nn.Parameter], loss: Tensor) -> None:
    """Gradients, and an optimiser's two passes over them."""
    gradients = torch.autograd.grad(loss, parameters)
    for gradient in gradients:
        gradient.mul_(gradient).sqrt_()


def without_gradient(function: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with torch.no_grad():
            return function()

    return run
