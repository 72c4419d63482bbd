"""Count the memory and the operations of DiT-XL/2 at 256 x 256, without weights, without a GPU and without computing.

    python benchmarks/dit_xl.py [--preset imagenette] [--batch 1] [--tune-batch 8] [--tflops 312] [--share 0.25]
                                [--classifier-tflops 156] [--classifier-share 0.1]

Runs one guided step of the preset, and one step of fine-tuning, on fake tensors (shapes without data). It counts the
floating-point operations and the peak memory of all tensors, forward and backward. Hours are operations divided by the
GPU's peak, in bfloat16 for sampling and in TF32 for classifiers (an A100 has 312 and 156 TFLOP/s), times the share of
the peak that is reached. These shares are assumptions. Results: dit-xl.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, DiTTransformer2DModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from lgd.classifiers.architectures import new_classifier
from lgd.config import ClassifierConfig, Config, GeneratorConfig, load_config
from lgd.diffusion.autoencoder import Latents
from lgd.diffusion.finetune import for_difffit
from lgd.diffusion.generator import Generator
from lgd.diffusion.train import Batch, begin, noise_schedule, one_step
from lgd.diffusion.types import Step
from lgd.evaluation.protocols import training_for
from lgd.guidance.classifier_free import classifier_free
from lgd.guidance.influence import Surrogate, influence
from lgd.guidance.learnability import learnability, learnability_guided
from lgd.profiling.measure import Alive

SETS = {"imagenette": (10, 12_894), "imagenet1k": (1000, 1_281_167)}
"""by preset: number of classes, and of their images in ImageNet's training set"""


def sd_vae() -> AutoencoderKL:
    """Make the autoencoder of Stable Diffusion (ft-mse), whose latents DiT-XL/2 models."""
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=256,
    )


def dit_xl(classes: int = 1000) -> DiTTransformer2DModel:
    """Make the denoiser DiT-XL/2 for 256 x 256 pixels (diffusers' default), with learned variance."""
    return DiTTransformer2DModel(out_channels=8, num_embeds_ada_norm=classes)


def guided_step(config: Config, classes: int, batch: int) -> dict[str, tuple[Callable[[], Any], list[torch.nn.Module]]]:
    """Return, by name, the functions to measure and the networks that they use."""
    shape = (3, config.dataset.size, config.dataset.size)
    torch.set_default_dtype(torch.bfloat16)
    denoiser, vae = dit_xl().requires_grad_(False), sd_vae().requires_grad_(False)
    torch.set_default_dtype(torch.float32)
    autoencoder = Latents(vae, shape, 256, (0.0,), (1 / 0.18215,))
    scheduler = dict(DDPMScheduler(variance_type="learned_range").config)
    generator = Generator(denoiser, scheduler, autoencoder, tuple(map(str, range(classes))), tuple(range(classes)))
    one = torch.ones(3)
    learner, reference = (
        new_classifier(role, shape, classes, one, one).eval().requires_grad_(False)
        for role in (config.learner, config.reference)
    )
    labels = torch.zeros(batch, dtype=torch.long)
    step = Step(20, 400, 0.2)
    x_t = torch.randn(batch, *generator.latent_shape)
    plain = classifier_free(generator, labels, config.sampling.classifier_free_scale, config.sampling.guided_channels)

    def score(x0: torch.Tensor) -> torch.Tensor:
        return learnability(autoencoder.decode(x0, clamp=False), labels, [learner], reference, config.guidance.omega)

    copies = config.influence.surrogate.checkpoints
    parameters = {name: torch.stack([p] * copies) for name, p in learner.named_parameters()}
    class_gradients = torch.ones(copies, sum(p.numel() for p in learner.parameters()))
    surrogate = Surrogate(learner, parameters, {1: class_gradients})

    def influence_score(x0: torch.Tensor) -> torch.Tensor:
        return influence(autoencoder.decode(x0, clamp=False), labels, surrogate)

    guided = learnability_guided(plain, score, config.guidance)
    influenced = learnability_guided(plain, influence_score, config.guidance)
    with_x0 = learnability_guided(plain, score, load_config("digits").guidance)
    networks = [denoiser, vae, learner, reference]

    def without_gradient(function: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with torch.no_grad():
                return function()

        return run

    return {
        "denoiser, one image without guidance": (
            without_gradient(lambda: generator.predict(x_t[:1], step, labels[:1])), [denoiser]
        ),
        "unguided step (two passes of the denoiser)": (without_gradient(lambda: plain(x_t, step)), [denoiser]),
        "guided step, route denoiser": (without_gradient(lambda: guided(x_t, step)), networks),
        "guided step, route x0": (without_gradient(lambda: with_x0(x_t, step)), networks),
        "guided step of the seed set (influence)": (without_gradient(lambda: influenced(x_t, step)), networks),
        "decoding": (without_gradient(lambda: autoencoder.decode(x_t)), [vae]),
    }  # fmt: skip


class Noise:
    """A source of latents for training."""

    shape = (4, 32, 32)

    def latents(self, item: torch.Tensor, flipped: torch.Tensor | None) -> torch.Tensor:
        return item


def tuning_step(tune: str, classes: int, batch: int) -> tuple[Callable[[], Any], list[torch.nn.Module]]:
    """Return one optimiser step of fine-tuning on `classes` new classes, and its networks."""
    denoiser = dit_xl(classes)
    if tune == "difffit":
        for_difffit(denoiser)
    config = GeneratorConfig(batch_size=batch, precision="bfloat16", tune=tune)  # type: ignore[arg-type]
    scheduler = noise_schedule(config, 1.0)
    state = begin(denoiser, config, batch)
    x, labels = torch.randn(batch, *Noise.shape), torch.zeros(batch, dtype=torch.long)
    part = Batch(x, torch.arange(batch), labels)
    return lambda: one_step(state, Noise(), part, scheduler, config), [denoiser]  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(SETS), default="imagenette")
    parser.add_argument("--tune-batch", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tflops", type=float, default=312.0)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--classifier-tflops", type=float, default=156.0)
    parser.add_argument("--classifier-share", type=float, default=0.1)
    options = parser.parse_args()
    config, (classes, images) = load_config(options.preset), SETS[options.preset]
    flops: dict[str, float] = {}
    with FakeTensorMode():
        for name, (function, networks) in guided_step(config, classes, options.batch).items():
            flops[name] = report(name, function, networks)
        for tune in ("difffit", "full"):
            report(f"fine-tuning ({tune}), batch {options.tune_batch}", *tuning_step(tune, classes, options.tune_batch))
        training = training_flops(config, classes, images)
    low, high = config.guidance.window
    steps, guided = config.sampling.steps, high - low + 1
    one = (
        (steps - guided) * flops["unguided step (two passes of the denoiser)"]
        + guided * flops["guided step, route denoiser"]
        + flops["decoding"]
    ) / options.batch
    n, K, kappa = config.stages.images_per_increment, config.stages.increments, config.stages.candidates
    candidates = classes * n * (1 + (K - 1) * kappa)
    sampling = 3600e12 * options.tflops * options.share
    classifying = 3600e12 * options.classifier_tflops * options.classifier_share
    print(
        f"{classes} classes at {n * K} IPC; hours at {options.share:.0%} of {options.tflops:.0f} TFLOP/s for sampling,"
        f" {options.classifier_share:.0%} of {options.classifier_tflops:.0f} for classifiers:"
    )
    hours = {f"sampling {candidates} candidates of {one / 1e12:.0f} TFLOP": (candidates * one, sampling)}
    hours |= {name: (total, classifying) for name, total in training.items()}
    for name, (total, rate) in hours.items():
        print(f"  {name}: {total / 1e15:.0f} PFLOP, {total / rate:.2f} h")
    print(f"  all: {sum(total / rate for total, rate in hours.values()):.1f} h")


def report(name: str, function: Callable[[], Any], networks: list[torch.nn.Module]) -> float:
    """Print the operations and the memory of a function; returns its floating-point operations."""
    with Alive() as alive:
        for network in networks:
            for tensor in [*network.parameters(), *network.buffers()]:
                alive.add(tensor)
        weights = alive.now
        function()  # an optimiser makes its moments in its first step
        with FlopCounterMode(display=False) as counter:
            function()
    found: float = counter.get_total_flops()
    print(
        f"{name}: {found / 1e12:.2f} TFLOP, weights {weights / 2**30:.2f} GiB, most memory {alive.peak / 2**30:.2f} GiB"
    )
    return found


def training_flops(config: Config, classes: int, images: int) -> dict[str, float]:
    """Return the operations of a run's classifiers: images times epochs times those of one image, both passes."""
    shape = (3, config.dataset.size, config.dataset.size)
    n, K = config.stages.images_per_increment, config.stages.increments
    evaluation = config.evaluation
    seen = {ipc: classes * ipc * training_for(evaluation, ipc, shape, classes).epochs for ipc in range(n, n * K + 1, n)}
    convnet = one_image(config.learner, shape, classes)
    learners = sum(classes * n * i for i in range(1, K)) * config.learner.training.epochs * convnet
    # A teacher labels every augmented batch: its forward is a third of forward and backward.
    teacher = convnet / 3 if evaluation.protocol == "soft" else 0.0
    evaluators = {
        name: one_image(replace(evaluation.classifier, architecture=name), shape, classes) + teacher
        for name in evaluation.architectures
    }
    first = evaluation.architectures[0]
    return {
        "reference": images * config.reference.training.epochs * convnet,
        "surrogate, at most": images * config.influence.surrogate.classifier.training.epochs * convnet,
        "learners": learners,
        **{f"evaluation, {name}": evaluation.seeds * sum(seen.values()) * each for name, each in evaluators.items()},
        "redundancy": evaluation.redundancy_seeds * K * seen[n] * evaluators[first],
    }


def one_image(config: ClassifierConfig, shape: tuple[int, int, int], classes: int) -> float:
    """Count the operations of one image, forward and backward."""
    network = new_classifier(config, shape, classes, torch.ones(3), torch.ones(3))
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, *shape)).sum().backward()
    return counter.get_total_flops() / 2


if __name__ == "__main__":
    main()
