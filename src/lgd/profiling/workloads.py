"""The kinds of work in a run, each built so that it can be timed or counted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn import functional as F

from lgd.classifiers.architectures import Classifier, batch_size_for, new_classifier
from lgd.config import ClassifierConfig, Config, Precision, TrainingConfig
from lgd.diffusion import diffusers_lazily as diffusers
from lgd.diffusion.autoencoder import Autoencoder, Latents, Pixels, open_latents, small_decoder
from lgd.diffusion.families import FAMILIES
from lgd.diffusion.families.dit import DIT, new_denoiser
from lgd.diffusion.finetune import for_tuning
from lgd.diffusion.folder import load_source, with_conditions
from lgd.diffusion.generator import Generator
from lgd.diffusion.pretrained import PREFIX
from lgd.diffusion.train import begin, half_precision, predict
from lgd.diffusion.types import Step
from lgd.diffusion.vae_names import SD
from lgd.distillation.methods import Method, method_named
from lgd.distillation.recipe import Recipe, first_step
from lgd.errors import UserError
from lgd.guidance.classifier_free import classifier_free
from lgd.guidance.influence import Surrogate, influence
from lgd.guidance.learnability import guided_steps, learnability, learnability_guided

from .sizes import PIPELINES, Sizes

Built = tuple[Callable[[], Any], list[nn.Module]]
"""a function to call, and the networks that it uses"""


@dataclass(frozen=True)
class Workload:
    """One call of one kind of work."""

    items: int
    """images, or steps of a generator's training, per call"""
    build: Callable[[], Built]
    """returns the call and its networks; within torch's fake tensors it computes nothing"""
    bfloat16: bool
    """whether it computes in bfloat16"""
    key: tuple[Any, ...]
    """equal for equal work of one configuration"""


@dataclass(frozen=True)
class Workloads:
    """The workloads of one configuration."""

    config: Config
    sizes: Sizes
    device: str
    _generators: dict[Precision, Generator] = field(default_factory=dict, init=False, compare=False, repr=False)
    """frozen ones, by precision: to make one of DiT-XL's size takes seconds"""

    def classifier(self, config: ClassifierConfig) -> Classifier:
        ones = torch.ones(self.sizes.shape[0])
        return self.on_device(new_classifier(config, self.sizes.shape, self.sizes.classes, ones / 2, ones / 4))

    def on_device(self, network: Any) -> Any:
        """Move a network to the device; networks without data have the device `cpu` and stay where they are."""
        return network if self.device == "cpu" else network.to(self.device)

    def classifier_training_step(self, config: ClassifierConfig, images: int) -> Workload:
        """Return one training step of a classifier on a set of `images` images."""
        batch, half = min(config.training.batch_size, images), config.training.precision == "bfloat16"

        def build() -> Built:
            network = self.classifier(config).train()
            x = torch.rand(batch, *self.sizes.shape, device=self.device)
            y = torch.zeros(batch, dtype=torch.long, device=self.device)

            def step() -> None:
                with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
                    logits = network(x).float()
                backward_and_update(list(network.parameters()), F.cross_entropy(logits, y))

            return step, [network]

        # Epochs, rates and the like change no step.
        return Workload(batch, build, half, ("training", replace(config, training=TrainingConfig()), half, batch))

    def classified_batch(self, config: ClassifierConfig) -> Workload:
        batch = min(batch_size_for(self.sizes.shape), max(self.sizes.test, 1))

        def build() -> Built:
            network, x = self.classifier(config).eval(), torch.rand(batch, *self.sizes.shape, device=self.device)
            return torch.no_grad()(lambda: network(x)), [network]

        return Workload(batch, build, False, ("classification", replace(config, training=TrainingConfig()), batch))

    def generator_training_step(self) -> Workload:
        own = self.config.generator
        half = half_precision(own, self.device.partition(":")[0])

        def build() -> Built:
            made = self.generator("float32")
            denoiser: Any = made.denoiser.train().requires_grad_(True)
            denoiser = for_tuning(denoiser, own)
            C, side = denoiser.config.in_channels, denoiser.config.sample_size
            batch = min(own.batch_size, self.sizes.images)
            x = torch.randn(batch, C, side, side, device=self.device)
            t = torch.zeros(batch, dtype=torch.long, device=self.device)
            # The optimiser's moments and the average
            extra = [torch.zeros_like(p) for p in denoiser.parameters() if p.requires_grad for _ in range(3)]
            state = begin(denoiser, own, batch, made.family, made.embeddings)
            trained = state.optimiser.param_groups[0]["params"]

            def step() -> None:
                backward_and_update(trained, predict(state, x, t, t, half).square().mean())

            return step, [denoiser, nn.ParameterList(extra)]

        return Workload(1, build, half, ("training of the generator",))

    def frozen_generator(self, precision: Precision) -> Generator:
        """Return the generator for sampling, the same one every time. Errors: as `generator`."""
        if precision not in self._generators:
            self._generators[precision] = self.generator(precision)
        return self._generators[precision]

    def generator(self, precision: Precision) -> Generator:
        """Open the generator, or make an untrained one of its size. Errors: UserError when its size is unknown."""
        own, shape, classes = self.config.generator, self.sizes.shape, self.sizes.classes
        names = tuple(map(str, range(classes)))
        if own.source and Path(own.source.removeprefix(PREFIX)).expanduser().is_dir():
            with unset_fake_temporarily():
                found = load_source(own.source, shape, self.device, precision, own.time_frequencies)
            return with_conditions(found, names, found.family.placeholder(found.denoiser, classes))
        family, scheduler = DIT, dict(diffusers.DDPMScheduler().config)
        autoencoder: Autoencoder = Pixels()
        if own.source:
            published = PIPELINES.get(own.source.removeprefix(PREFIX).partition("@")[0])
            if published is None:
                raise UserError(f"generator.source: {own.source} is not on this machine, so its size is unknown")
            family, sizes = FAMILIES[published[0]], published[1]
            with default_precision(precision):
                denoiser = family.network(**sizes)
                network = self.on_device(diffusers.AutoencoderKL(**SD).eval().requires_grad_(False))
            autoencoder = Latents(network, shape, 8 * sizes["sample_size"], (0.0,), (1 / 0.18215,))
        else:
            latent = shape
            if own.autoencoder:
                with unset_fake_temporarily():
                    autoencoder = open_latents(Path(own.autoencoder), shape, own.image_size, precision)
                self.on_device(autoencoder.network)
                latent = autoencoder.shape
            with default_precision(precision):
                denoiser = new_denoiser(own, latent, classes)
        denoiser = self.on_device(denoiser.eval().requires_grad_(False))
        made = Generator(denoiser, scheduler, autoencoder, names, (), family)
        return with_conditions(made, names, family.placeholder(denoiser, classes))

    def candidates(self, recipe: Recipe, kept: float) -> list[tuple[float, Workload]]:
        """Return the work to choose `kept` images of increments of this recipe."""
        found, parts = method_named(recipe.method), []
        for source in found.sources:
            count = kept * source.per_slot(recipe)
            if source.generated:
                parts += self.sampling(found, recipe, count)
            else:
                parts.append((count * recipe.stages.learners, self.classified_batch(self.config.learner)))
        return parts

    def sampling(self, method: Method, recipe: Recipe, candidates: float) -> list[tuple[float, Workload]]:
        """Return the work to sample candidates: numbers of unguided steps, guided steps and decoded images."""
        guidance, first = method.guidance(recipe) if method.guidance else None, first_step(recipe)
        guided = guided_steps(guidance, first) if guidance and guidance.strength else 0
        together = recipe.stages.candidates * min(recipe.stages.classes_per_unit, self.sizes.classes)
        batch = min(recipe.sampling.batch_size, together)
        return [
            (candidates * (first + 1 - guided), self.sampling_step(batch, None)),
            (candidates * guided, self.sampling_step(batch, "influence" if method.assets else "score")),
            (candidates, self.decoding_batch(batch)),
        ]

    def sampling_step(self, batch: int, guidance: str | None) -> Workload:
        """Return one denoising step of a batch; guidance: by the learnability "score", by "influence", or None."""
        config = self.config
        half = config.sampling.precision == "bfloat16"

        def build() -> Built:
            generator = self.frozen_generator(config.sampling.precision)
            labels = torch.zeros(batch, dtype=torch.long, device=self.device)
            x = torch.randn(batch, *generator.latent_shape, device=self.device)
            sampling = config.sampling
            conditions = generator.conditions_of(labels, range(batch))
            inner = classifier_free(generator, conditions, sampling.classifier_free_scale, sampling.guided_channels)
            networks: list[nn.Module] = [generator.denoiser]
            here = Step(20, 400, 0.2)
            if guidance is None:
                return torch.no_grad()(lambda: inner(x, here)), networks
            decoder, used = self.guidance_decoder(generator)
            networks += used
            if guidance == "score":
                learners = [self.frozen_classifier(config.learner) for _ in range(config.stages.learners)]
                reference = self.frozen_classifier(config.reference)
                networks += [*learners, reference]

                def score(z: Tensor) -> Tensor:
                    return learnability(
                        decoder.decode(z, clamp=False), labels, learners, reference, config.guidance.omega
                    )
            else:
                surrogate = self.surrogate()
                networks.append(surrogate.classifier)

                def score(z: Tensor) -> Tensor:
                    return influence(decoder.decode(z, clamp=False), labels, surrogate)

            own = replace(config.guidance, window=(0, 50), every=1, strength=1.0)
            guided = learnability_guided(inner, score, own)
            return torch.no_grad()(lambda: guided(x, here)), networks

        return Workload(batch, build, half, ("sampling", batch, guidance))

    def decoding_batch(self, batch: int) -> Workload:
        def build() -> Built:
            generator = self.frozen_generator(self.config.sampling.precision)
            z = torch.randn(batch, *generator.latent_shape, device=self.device)
            return torch.no_grad()(lambda: generator.autoencoder.decode(z)), networks_of(generator.autoencoder)

        half = self.config.sampling.precision == "bfloat16"
        return Workload(batch, build, half, ("decoding", batch))

    def guidance_decoder(self, generator: Generator) -> tuple[Any, list[nn.Module]]:
        folder = self.config.guidance.decoder
        if not folder or not isinstance(generator.autoencoder, Latents):
            return generator.autoencoder, networks_of(generator.autoencoder)
        with unset_fake_temporarily():
            small = small_decoder(Path(folder), generator.autoencoder, self.config.sampling.precision)
        self.on_device(small.network)
        return small, [small.network]

    def frozen_classifier(self, config: ClassifierConfig) -> Classifier:
        return self.classifier(config).eval().requires_grad_(False)

    def surrogate(self) -> Surrogate:
        """Make an untrained surrogate with arbitrary class gradients."""
        own = self.config.influence.surrogate
        classifier = self.frozen_classifier(own.classifier)
        parameters = {name: torch.stack([p] * own.checkpoints) for name, p in classifier.named_parameters()}
        size = sum(p.numel() for p in classifier.parameters())
        # On shapes without data every label reads as 1.
        class_gradients = dict.fromkeys((0, 1), torch.ones(own.checkpoints, size, device=self.device))
        return Surrogate(classifier, parameters, class_gradients)


@contextmanager
def default_precision(precision: Precision) -> Iterator[None]:
    """Make networks in the block with weights of this precision, as torch cannot cast networks without data."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, precision))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def networks_of(autoencoder: Any) -> list[nn.Module]:
    return [autoencoder.network] if isinstance(autoencoder, Latents) else []


def backward_and_update(parameters: list[nn.Parameter], loss: Tensor) -> None:
    """Compute gradients, and pass over them twice as an optimiser does."""
    gradients = torch.autograd.grad(loss, parameters)
    for gradient in gradients:
        gradient.mul_(gradient).sqrt_()
