"""Generators that a diffusers pipeline saved, such as DiT-XL/2: a folder, or a repository of the Hugging Face Hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lgd.config import Precision, TimeFrequencies
from lgd.errors import UserError, first_line
from lgd.storage.files import read_json

from .autoencoder import Latents, Pixels, Shape
from .autoencoder_networks import channels, check_files, factor, load_network
from .families import family_of
from .families.flow import schedule
from .generator import Generator
from .prediction_type import KINDS

PREFIX = "pretrained:"
"""of a source that names a pipeline"""
PATTERNS = ["model_index.json", "README.md", "*/*.json", "*/merges.txt", "*/*.safetensors"]
"""what is downloaded of a repository: never a pickle"""
UNUSED = ["safety_checker/*", "*.fp16.*", "*.non_ema.*", "*/openvino*", "*/flax*"]
"""what is not: other precisions of the same weights, and networks that no family uses"""


def pipeline_folder(name: str) -> Path:
    """Return the folder of PATH or HUB_ID[@REVISION], downloaded where it has to be. Errors: UserError."""
    path = Path(name).expanduser()
    folder = path if path.is_dir() else download(name)
    for part in ("model_index.json", "scheduler/scheduler_config.json"):
        if not (folder / part).is_file():
            raise UserError(f"{folder}: not a saved pipeline: it lacks {part}")
    family = family_of(folder)
    for part in (f"{family.part}/config.json", *family.parts):
        if not (folder / part).is_file():
            raise UserError(f"{folder}: not a complete {family.pipelines[0]}: it lacks {part}")
    for part in (family.part, "vae"):
        if (folder / part).is_dir():
            check_files(folder / part)
    return folder


def download(name: str, patterns: Sequence[str] = PATTERNS, field: str = "generator.source") -> Path:
    """The cached files of a Hub repository. field: what named it, for messages. Errors: UserError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    repository, _, revision = name.partition("@")
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")):
        raise UserError(f"{field}: no such folder: {name}")
    try:
        wanted = {"allow_patterns": list(patterns), "ignore_patterns": UNUSED}
        return Path(snapshot_download(repository, revision=revision or None, **wanted))
    except HFValidationError:
        raise UserError(f"{field}: neither a folder nor a Hub repository: {name}") from None
    except Exception as error:  # of the network or the Hub, in many kinds
        told = f"{field}: {name} is neither a folder, nor in the Hub's cache, nor to be had"
        raise UserError(f"{told}: {first_line(error)}") from None


def load_pipeline(
    folder: Path,
    image_shape: Shape | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
    frequencies: TimeFrequencies = "auto",
) -> Generator:
    """The pipeline as a generator that knows no class names yet.

    image_shape: of the images to make, by default the pipeline's own. frequencies: as `saved_frequencies` takes them.
    Errors: UserError naming the part that is missing or corrupt, or whose channels do not fit.
    """
    family, where = family_of(folder), folder / "scheduler"
    config = read_json(where / "scheduler_config.json")
    if family.velocity:
        config = schedule(config, where)
    elif (kind := config.get("prediction_type", "epsilon")) not in KINDS:
        raise UserError(f"{where}: predicts {kind!r}; supported: {', '.join(KINDS)}")
    denoiser = family.load(folder, device, precision, frequencies)
    C, side = denoiser.config.in_channels, denoiser.config.sample_size
    if not isinstance(side, int):
        raise UserError(f"{folder / family.part}: sample_size {side!r}; it must be a number, of square latents")
    outputs = denoiser.config.out_channels or C
    if outputs not in (C, 2 * C):
        raise UserError(f"{folder / family.part}: {outputs} channels out of {C}; expected {C} or {2 * C}")
    if not (folder / "vae").is_dir():
        return with_pixels(Generator(denoiser, config, Pixels(), (), (), family), folder, image_shape)
    network: Any = load_network(folder / "vae", precision)
    if channels(network) != C:
        raise UserError(f"{folder}: the vae's latents have {channels(network)} channels, the {family.part}'s {C}")
    size = side * factor(network)
    shift, scale = getattr(network.config, "shift_factor", None) or 0.0, network.config.scaling_factor
    autoencoder = Latents(network.to(device), image_shape or (3, size, size), size, (shift,) * C, (1 / scale,) * C)
    return Generator(denoiser, {"clip_sample": False, **config}, autoencoder, (), (), family)


def with_pixels(generator: Generator, folder: Path, image_shape: Shape | None) -> Generator:
    """Return a generator that makes pixels. Errors: UserError when the images of `image_shape` are others."""
    if image_shape not in (None, generator.latent_shape):
        raise UserError(f"{folder}: makes pixels of {generator.latent_shape} (C, H, W), not images of {image_shape}")
    return generator
