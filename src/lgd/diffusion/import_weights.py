"""Make a generator of weights as they are published: DiT's, tuned ones, and Stable Diffusion's autoencoder.

OUT/model_index.json   transformer/   vae/   scheduler/   generator.json, as a DiTPipeline of diffusers with our record;
of an autoencoder alone OUT/config.json   diffusion_pytorch_model.safetensors   autoencoder.json
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lgd.config import TimeFrequencies
from lgd.errors import UserError
from lgd.progress import log
from lgd.storage.files import read_json, save_tensors, write_json

from . import diffusers_lazily as diffusers
from .class_map import imagenet_labels
from .dit_names import from_diffusers_names, from_own_names, is_diffusers, is_own
from .pretrained import download
from .time_embedding import PUBLISHED, RECORD, Kind, recorded_frequencies, share_one_embedder, untold
from .vae_names import VAE_RECORD, from_vae_names, is_vae, variant_of
from .weight_files import Weights, weights_in

DITS = ("DiTTransformer2DModel", "Transformer2DModel")
"""classes of diffusers' that hold a DiT, today's and the older one"""
LICENCE = "CC BY-NC 4.0"
"""of DiT's published weights, and so of those tuned from them"""
VAE_LICENCE = "MIT"
"""of ft-mse and ft-ema"""
LINEAGE = "ft-mse"
"""the autoencoder that Minimax Diffusion, IGD and MGD3 sample with"""
HUB = ["*.json", "*/*.json", "*.safetensors", "*/*.safetensors"]
PICKLES = ["*.bin", "*/*.bin"]
"""what is downloaded of a repository that has no safetensors"""


@dataclass(frozen=True)
class Part:
    """A network to be written: its configuration, its weights in diffusers' names, and what is recorded of it."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    record: dict[str, Any]


@dataclass(frozen=True)
class Choices:
    """The user's options for imported weights."""

    heads: int = 0
    """of attention; 0: by the width, as DiT-XL, L, B and S have them"""
    time_frequencies: TimeFrequencies = "auto"
    licence: str = ""
    """of the weights; empty: DiT's, where they are of DiT's own code"""


@dataclass(frozen=True)
class Published:
    """All that is written of a source; an autoencoder alone has neither denoiser nor scheduler."""

    autoencoder: Part
    denoiser: Part | None = None
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def read_published(source: str, vae: str = "", choices: Choices | None = None) -> Published:
    """Read and check what `source` holds, with the autoencoder `vae` where it holds none or another is wanted.

    source, vae: a folder, a weight file, or OWNER/NAME[@REVISION] on the Hub. Errors: UserError naming the file and
    what is missing, unknown or of another shape; also for weights whose timestep frequencies nothing tells.
    """
    place = located(source, "SOURCE")
    index = read_object(place / "model_index.json") if (place / "model_index.json").is_file() else {}
    denoiser = place / "transformer" if index else place
    weights, config = weights_in(denoiser), configuration(denoiser)
    if is_vae(weights.tensors):
        if vae:
            raise UserError(f"{source}: is an autoencoder itself, so --vae has no use")
        return Published(vae_part(source, weights, config))
    part = denoiser_part(source, place, weights, config, choices or Choices())
    if vae:
        own = located(vae, "--vae")
        own = own / "vae" if (own / "vae").is_dir() else own
        autoencoder = vae_part(vae, weights_in(own), configuration(own))
    elif (place / "vae").is_dir():
        autoencoder = vae_part(source, weights_in(place / "vae"), configuration(place / "vae"))
    else:
        raise UserError(
            f"{source}: holds no autoencoder; --vae names one, a folder, a file or stabilityai/sd-vae-{LINEAGE}"
        )
    channels = autoencoder.config.get("latent_channels", 4)
    if channels != part.config["in_channels"]:
        raise UserError(f"{vae or source}: latents of {channels} channels, the denoiser's {part.config['in_channels']}")
    return Published(autoencoder, part, scheduler_of(place), labels_of(index, part.config["num_embeds_ada_norm"]))


def located(name: str, option: str) -> Path:
    """Return the folder or file of a source; a repository is downloaded, pickles only where it has nothing else."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    folder = download(name, HUB, option)
    if not any(folder.rglob("*.safetensors")):
        folder = download(name, HUB + PICKLES, option)
    return folder


def read_object(path: Path) -> dict[str, Any]:
    """Errors: UserError for JSON that is no object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a configuration")
    return value


def configuration(place: Path) -> dict[str, Any] | None:
    """Return the config.json beside weights in a folder, or beside a weight file that is named as diffusers does."""
    folder = place if place.is_dir() else place.parent
    named = place.is_dir() or place.name.startswith("diffusion_pytorch_model.")
    return read_object(folder / "config.json") if named and (folder / "config.json").is_file() else None


def denoiser_part(source: str, place: Path, weights: Weights, config: dict[str, Any] | None, choices: Choices) -> Part:
    """Return the denoiser of `weights`, found for `source` at `place`. Errors: UserError."""
    if is_own(weights.tensors):
        kind: Kind = "dit" if choices.time_frequencies == "auto" else choices.time_frequencies
        arguments, tensors = from_own_names(weights, choices.heads)
    elif is_diffusers(weights.tensors):
        if config is None or config.get("_class_name") not in DITS:
            raise UserError(f"{weights.place}: needs the config.json of a {DITS[0]} beside it; import its folder")
        kind = frequencies(source, place, weights, choices.time_frequencies)
        arguments, tensors = from_diffusers_names(weights, config, kind == "dit")
    else:
        raise UserError(
            f"{weights.place}: holds neither a DiT nor an autoencoder, but {next(iter(weights.tensors)):.100}"
        )
    record = {
        "time_frequencies": kind,
        "licence": choices.licence or (LICENCE if kind == "dit" else "unknown"),
        "source": source,
        "weights": weights.part or "all",
        "sha256": weights.digests,
    }
    return Part(arguments, tensors, record)


def frequencies(source: str, place: Path, weights: Weights, wanted: TimeFrequencies) -> Kind:
    """Return the timestep frequencies of a denoiser in diffusers' names. Errors: UserError when nothing tells them."""
    if wanted != "auto":
        return wanted
    if place.is_dir() and (recorded := recorded_frequencies(place)) is not None:
        return recorded
    if source.partition("@")[0] in PUBLISHED or share_one_embedder(weights.tensors):
        return "dit"
    raise untold(place)


def vae_part(given: str, weights: Weights, config: dict[str, Any] | None) -> Part:
    """Return the autoencoder of `weights`; given: as the user named it. Errors: UserError."""
    if not is_vae(weights.tensors) or (config or {}).get("_class_name", "AutoencoderKL") != "AutoencoderKL":
        raise UserError(f"{weights.place}: not Stable Diffusion's autoencoder (AutoencoderKL)")
    arguments, tensors = from_vae_names(weights, config)
    path = weights.place / VAE_RECORD
    before = read_object(path) if weights.place.is_dir() and path.is_file() else {}
    variant = str(before.get("variant", variant_of(given, config, weights)))
    licence = "unknown" if variant == "unknown" else VAE_LICENCE
    record = {"variant": variant, "licence": licence, "source": given, "sha256": weights.digests}
    return Part(arguments, tensors, record)


def scheduler_of(place: Path) -> dict[str, Any]:
    path = place / "scheduler" / "scheduler_config.json"
    if path.is_file():
        return read_object(path)
    return dict(
        diffusers.DDPMScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False).config
    )


def labels_of(index: dict[str, Any], classes: int) -> dict[str, str]:
    """Return the labels of the classes by id: the pipeline's own, or ImageNet's for a thousand classes."""
    own = index.get("id2label")
    if isinstance(own, Mapping) and all(isinstance(label, str) for label in own.values()):
        return dict(own)
    labels = imagenet_labels().values() if classes == 1000 else ()
    return {str(number): label for number, label in enumerate(labels)}


def write_published(published: Published, out: Path) -> None:
    """Write a folder for generator.source, or that of an autoencoder; model_index.json comes last."""
    if published.denoiser is None:
        write_vae(published.autoencoder, out)
        return
    write_json(out / "config.json", {"import": published.denoiser.record})  # by which --overwrite knows the folder
    write_part(published.denoiser, out / "transformer", diffusers.DiTTransformer2DModel)
    write_vae(published.autoencoder, out / "vae")
    write_json(out / "scheduler" / "scheduler_config.json", dict(published.scheduler))
    write_json(out / RECORD, published.denoiser.record)
    index: dict[str, Any] = {"_class_name": "DiTPipeline", "_diffusers_version": diffusers.__version__}
    if published.labels:
        index["id2label"] = dict(published.labels)
    scheduler = published.scheduler.get("_class_name", "DDPMScheduler")
    parts = {"scheduler": scheduler, "transformer": "DiTTransformer2DModel", "vae": "AutoencoderKL"}
    write_json(out / "model_index.json", index | {name: ["diffusers", kind] for name, kind in parts.items()})


def write_vae(autoencoder: Part, folder: Path) -> None:
    write_part(autoencoder, folder, diffusers.AutoencoderKL)
    write_json(folder / VAE_RECORD, autoencoder.record)


def write_part(part: Part, folder: Path, kind: Any) -> None:
    config = {"_class_name": kind.__name__, "_diffusers_version": diffusers.__version__, **part.config}
    write_json(folder / "config.json", config)
    save_tensors(folder / "diffusion_pytorch_model.safetensors", part.tensors)


def tell(published: Published) -> None:
    if published.denoiser is None:
        log.info(f"{published.autoencoder.record['source']}: an autoencoder, {published.autoencoder.record['variant']}")
        return
    own, record = published.denoiser.config, published.denoiser.record
    width = own["num_attention_heads"] * own["attention_head_dim"]
    part = f" ({record['weights']} of the checkpoint)" if record["weights"] != "all" else ""
    log.info(
        f"{record['source']}: a DiT of {own['num_layers']} blocks of width {width}, {own['num_embeds_ada_norm']}"
        f" classes{part}, with the timestep frequencies of {record['time_frequencies']}"
    )
    if record["licence"] == LICENCE:
        log.info(
            f"licence of DiT's weights: {LICENCE}: not for commercial use, with attribution; read it before you share"
            " images sampled from them"
        )
    if (variant := published.autoencoder.record["variant"]) != LINEAGE:
        log.info(
            f"autoencoder: {variant}; Minimax Diffusion, IGD and MGD3 sample with {LINEAGE}"
            f" (--vae stabilityai/sd-vae-{LINEAGE})"
        )
