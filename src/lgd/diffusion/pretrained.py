"""Generators that diffusers' DiTPipeline saved, such as DiT-XL/2: a folder, or a repository of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgd.config import Precision, TimeFrequencies
from lgd.errors import UserError
from lgd.storage.files import read_json

from .autoencoder import Latents, Shape
from .autoencoder_networks import channels, check_files, factor, load_network
from .class_map import Vocabulary, pipeline_vocabulary
from .generator import Generator, load_denoiser
from .prediction_type import KINDS
from .time_embedding import saved_frequencies, set_frequencies

PREFIX = "pretrained:"
"""of a source that names a pipeline"""
PATTERNS = ["model_index.json", "*/*.json", "*/*.safetensors"]
"""what is downloaded of a repository: never a pickle"""


def pipeline_folder(name: str) -> Path:
    """The folder of PATH or HUB_ID[@REVISION], downloaded where it has to be.

    Errors: UserError when there is no such folder or repository, or it lacks a part.
    """
    path = Path(name).expanduser()
    folder = path if path.is_dir() else download(name)
    for part in ("model_index.json", "transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json"):
        if not (folder / part).is_file():
            raise UserError(f"{folder}: not a saved DiTPipeline: it lacks {part}")
    for part in ("transformer", "vae"):
        check_files(folder / part)
    return folder


def download(name: str) -> Path:
    """The cached files of a Hub repository. Errors: UserError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    repository, _, revision = name.partition("@")
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")):
        raise UserError(f"generator.source: no such folder: {name}")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=PATTERNS))
    except HFValidationError:
        raise UserError(f"generator.source: neither a folder nor a Hub repository: {name}") from None
    except Exception as error:  # of the network or the Hub, in many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"generator.source: {name} is neither a folder, nor in the Hub's cache, nor to be had: {reason}"
        ) from None


def read_vocabulary(folder: Path) -> Vocabulary:
    """What the pipeline calls its classes. Errors: UserError."""
    index, config = read_json(folder / "model_index.json"), read_json(folder / "transformer" / "config.json")
    size = config.get("num_embeds_ada_norm")
    if index.get("_class_name") != "DiTPipeline" or not isinstance(size, int):
        raise UserError(f"{folder}: not a class-conditional DiTPipeline")
    return pipeline_vocabulary(str(folder), size, index.get("id2label"))


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
    kind_of_time, _ = saved_frequencies(folder, frequencies)
    scheduler_config = read_json(folder / "scheduler" / "scheduler_config.json")
    kind = scheduler_config.get("prediction_type", "epsilon")
    if kind not in KINDS:
        raise UserError(f"{folder / 'scheduler'}: predicts {kind!r}; supported: {', '.join(KINDS)}")
    denoiser: Any = set_frequencies(load_denoiser(folder / "transformer", device, precision), kind_of_time)
    network: Any = load_network(folder / "vae", precision)
    C = denoiser.config.in_channels
    if channels(network) != C:
        raise UserError(f"{folder}: the vae's latents have {channels(network)} channels, the transformer's {C}")
    if denoiser.out_channels not in (C, 2 * C):
        raise UserError(
            f"{folder / 'transformer'}: {denoiser.out_channels} channels out of {C}; expected {C} or {2 * C}"
        )
    size = denoiser.config.sample_size * factor(network)
    shift, scale = getattr(network.config, "shift_factor", None) or 0.0, network.config.scaling_factor
    autoencoder = Latents(network.to(device), image_shape or (3, size, size), size, (shift,) * C, (1 / scale,) * C)
    return Generator(denoiser, scheduler_config, autoencoder, (), ())
