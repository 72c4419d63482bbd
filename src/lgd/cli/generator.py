"""The commands `lgd generator import`, `train`, `sample` and `show`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from lgd.config import Config, Precision, PromptConfig, TimeFrequencies
from lgd.errors import UserError
from lgd.progress import log, progress_bar

from .options import Fields, Output

PREVIEW = 8  # Images per class in the previews made during training.
MOST_CLASSES = 20  # Largest number of classes on a picture, unless they are named.


@dataclass(frozen=True)
class TrainOptions(Output):
    """Train a generator on the preset's images. The same command continues an interrupted training."""

    out: Path
    """Folder of the generator; --generator.source takes it."""
    save_every: float = 5.0
    """Minutes between checkpoints. Each comes with samples.png and loss.png."""
    tensorboard: bool = False
    """Write TensorBoard scalars into the folder, too (extra: tensorboard)."""
    config: Fields = field(default_factory=Config)
    """The configuration, of which training reads dataset, generator, sampling, compute and, to align, reference."""


@dataclass(frozen=True)
class ImportOptions(Output):
    """Make a generator of published weights: DiT's, a tuned DiT's, or Stable Diffusion's autoencoder."""

    source: Positional[str]
    """Folder written by diffusers, weight file, or OWNER/NAME[@REVISION] on the Hugging Face Hub."""
    out: Path
    """Folder of the generator; --generator.source takes it."""
    vae: str = ""
    """Autoencoder, named in the same ways. Empty: the source's own."""
    heads: int = 0
    """Number of attention heads, for a DiT that is none of XL, L, B and S. 0: by its width."""
    time_frequencies: TimeFrequencies = "auto"
    """Frequencies of the timestep embedding, where the source does not tell them: dit or diffusers."""
    licence: str = ""
    """Licence of the weights, for the record. Empty: CC BY-NC 4.0 for weights of DiT's own code."""


@dataclass(frozen=True)
class SampleOptions(Output):
    """Sample images of every class from a generator and write them as one picture."""

    generator: Positional[str]
    """Folder written by lgd, or pretrained:PATH_OR_HUB_ID."""
    out: Path
    """PNG file to write."""
    per_class: int = 8
    """Number of images per class."""
    classes: tuple[str, ...] = ()
    """Names of classes, or ids for a pretrained generator. Empty: all classes, at most 20."""
    prompts: PromptConfig = field(default_factory=PromptConfig)
    """Prompts of a text-to-image generator."""
    scale: float = 1.5
    """Scale of classifier-free guidance. 1: no guidance."""
    scheduler: Literal["ddpm", "ddim", "dpm++"] = "ddpm"
    """Sampler: ddpm, ddim or dpm++ (DPM-Solver++)."""
    steps: int = 50
    """Number of denoising steps."""
    seed: int = 0
    """Seed of the noise."""
    precision: Precision = "float32"
    """Precision of the denoiser and the autoencoder."""
    time_frequencies: TimeFrequencies = "auto"
    """Frequencies of the timestep embedding, where the generator's folder does not tell them: dit or diffusers."""
    device: str = "auto"
    """Device: cpu, cuda, cuda:N, or auto (CUDA where available, else the CPU)."""


@dataclass(frozen=True)
class ShowOptions:
    """Show a generator's networks, its classes and the state of its training."""

    generator: Positional[str]
    """Folder written by lgd, or pretrained:PATH_OR_HUB_ID."""


def generator_train(options: TrainOptions) -> None:
    from lgd.config import check, to_dict
    from lgd.data.splits import cached_splits
    from lgd.diffusion.generator import Generator
    from lgd.diffusion.starts import check_generator
    from lgd.diffusion.train_generator import GeneratorTraining, make_generator
    from lgd.distillation.recipe import assets_of
    from lgd.execution.hardware import check_device, cpu_threads, resolve_device, warn_of_emulation
    from lgd.execution.local import Local
    from lgd.experiments.auto import check_budget
    from lgd.experiments.budget import Budget
    from lgd.experiments.prepare import prepare_classifier
    from lgd.experiments.preview import preview_samples, write_grid, write_loss
    from lgd.experiments.reference import feature_maps_of
    from lgd.experiments.resolve import Experiment, check_alignment, with_alignment
    from lgd.experiments.run_directory import claim
    from lgd.report.events import check_tensorboard, write_training
    from lgd.storage.files import output_directory

    config = check(options.config)
    if config.generator.source and config.generator.tune == "none":
        raise UserError("generator.source: is trained already; --generator.tune full or lora trains it further")
    if options.save_every <= 0:
        raise UserError(f"--save-every must be above 0, not {options.save_every}")
    if options.tensorboard:
        check_tensorboard()
    check_device(config.compute.device)
    check_budget(config)
    splits, device = cached_splits(config.dataset), resolve_device(config.compute.device)
    images = splits.train
    config = with_alignment(config, images)
    check_generator(config.generator, images)
    check_alignment(config, images)
    warn_of_emulation(device, {"generator": to_dict(config)["generator"]})
    with output_directory(options.out, options.overwrite) as root, cpu_threads(config.generator.threads):
        budget = Budget(Experiment(config, splits, device), root, methods=())
        if config.generator.align:
            budget.settle("reference")
        config = budget.experiment.config
        used = ("dataset", "generator", *(["reference"] if config.generator.align else []))
        made_from = {name: to_dict(config)[name] for name in used}
        claim(root / "config.json", made_from)

        def preview(generator: Generator, rows: Sequence[dict[str, Any]]) -> None:
            labels = range(min(len(generator.class_names), MOST_CLASSES))
            write_grid(preview_samples(generator, labels, PREVIEW, config.sampling, 0), root / "samples.png")
            write_loss(rows, root / "loss.png")
            if options.tensorboard:
                write_training(root, rows)

        maps = None
        if config.generator.align:
            assets = assets_of(config, root, device)
            prepare_classifier(assets, "reference", Local(1, root))
            maps = feature_maps_of(assets, images)
        training = GeneratorTraining(config.generator, config.dataset, images, device, maps)
        settle = (lambda step: budget.settle("generator", step).config.generator) if budget.record else None
        make_generator(training, root, options.save_every, preview, settle)
    log.info(f"{options.out}: done; use it with --generator.source {options.out}")


def generator_import(options: ImportOptions) -> None:
    from lgd.diffusion.import_weights import Choices, read_published, tell, write_published
    from lgd.storage.files import output_directory

    if options.heads < 0:
        raise UserError(f"--heads must be at least 1, not {options.heads}")
    if (options.out / "config.json").exists() and not options.overwrite:
        raise UserError(f"{options.out} exists; --overwrite replaces it")
    choices = Choices(options.heads, options.time_frequencies, options.licence)
    published = read_published(options.source, options.vae, choices)
    with output_directory(options.out, options.overwrite) as root:
        write_published(published, root)
    tell(published)
    use = "--generator.source" if published.denoiser else "--generator.autoencoder, or --vae of another import,"
    log.info(f"{options.out}: done; use it with {use} {options.out}")


def generator_sample(options: SampleOptions) -> None:
    if options.out.exists() and not options.overwrite:
        raise UserError(f"{options.out} exists; --overwrite replaces it")
    if options.per_class < 1:
        raise UserError(f"--per-class must be at least 1, not {options.per_class}")
    from lgd.config import with_values
    from lgd.diffusion.folder import check_null, load_source, open_classes
    from lgd.execution.hardware import check_device, resolve_device, warn_of_emulation
    from lgd.experiments.preview import preview_samples, write_grid

    check_device(options.device)
    values = {
        "guidance.window": (0, 0),
        "sampling.scheduler": options.scheduler,
        "sampling.steps": options.steps,
        "sampling.classifier_free_scale": options.scale,
        "sampling.precision": options.precision,
    }
    sampling = with_values(Config(), values).sampling
    device = resolve_device(options.device)
    warn_of_emulation(device, {"precision": options.precision})
    check_null(options.generator, options.scale)
    loaded = load_source(options.generator, None, device, options.precision, options.time_frequencies)
    generator = open_classes(loaded, options.generator, options.classes, MOST_CLASSES, options.prompts)
    with progress_bar(1, "samples") as advance:
        images = preview_samples(
            generator, range(len(generator.class_names)), options.per_class, sampling, options.seed
        )
        advance()
    write_grid(images, options.out)
    log.info(f"{options.out}: {len(images)} images")


def generator_show(options: ShowOptions) -> None:
    from lgd.diffusion.describe import describe

    print(describe(options.generator), end="")
