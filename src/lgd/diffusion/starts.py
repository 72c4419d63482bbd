"""Starts of a generator's training: fresh weights, or a source that is tuned; and the checks before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgd.config import GeneratorConfig, Precision
from lgd.data.imageset import ImageSet
from lgd.errors import UserError
from lgd.progress import log

from . import diffusers_lazily as diffusers
from .autoencoder import Autoencoder, Latents, Pixels, Shape, open_latents, small_decoder
from .autoencoder_networks import in_precision, load_network
from .class_map import read_table
from .families import Conditions, Family, transformer_predicting
from .families.dit import DIT, check_patch, new_denoiser
from .finetune import check_targets, for_tuning, start_ids
from .folder import (
    autoencoder_folder,
    load_source,
    request_of,
    source_family,
    source_folder,
    source_vocabulary,
)
from .time_embedding import saved_frequencies, set_frequencies
from .train import noise_schedule
from .weight_files import weight_shapes

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

CLIP = 5.0
"""standard deviations that predicted clean latents of an autoencoder are clamped to; pixels: [-1, 1]"""


@dataclass(frozen=True)
class Start:
    """The denoiser, autoencoder and schedule that a training starts from."""

    denoiser: Any
    autoencoder: Autoencoder
    """not normalised yet, where the images decide how"""
    network: Path | None
    """the folder that the autoencoder is read from"""
    scheduler: DDPMScheduler
    conditions: Conditions
    family: Family = DIT


def check_generator(config: GeneratorConfig, images: ImageSet) -> None:
    """Check, before any work, that the generator can be loaded or trained for these images. Errors: UserError."""
    if not config.source:
        check_patch(config, own_autoencoder(config, images)[1])
    elif config.tune == "none":
        source_family(config.source).check(request_of(config, images.class_names))
    else:
        check_tuning(config, images)


def check_tuning(config: GeneratorConfig, images: ImageSet) -> None:
    """Check that the source can be tuned as configured, without reading its weights. Errors: UserError."""
    family, folder = source_family(config.source), source_folder(config.source)
    if config.tune not in family.tunes:
        use = ", ".join(("none", *family.tunes))
        raise UserError(f"generator.tune: {config.tune!r} is not for a {family.summary}; use one of {use}")
    if known := source_vocabulary(config.source):
        start_ids(images.class_names, known, read_table(config.class_map, images.class_names))
    else:
        family.check(request_of(config, images.class_names))
    if family.embeds_by_frequencies:
        saved_frequencies(folder, config.time_frequencies)
    if config.tune == "lora":
        check_targets(config.lora.targets, weight_shapes(folder / family.part))


def check_decoder(decoder: str, config: GeneratorConfig, shape: Shape) -> None:
    """Check before any work that guidance's small decoder, empty for none, fits the latents. Errors: UserError."""
    if not decoder:
        return
    own: Autoencoder = Pixels()
    place = autoencoder_folder(config.source) if config.source else Path(config.autoencoder or "-")
    if place.is_dir():
        own = Latents(load_network(place), shape, shape[1], (0.0,), (1.0,))
    small_decoder(Path(decoder), own)


def own_autoencoder(config: GeneratorConfig, images: ImageSet) -> tuple[Autoencoder, Shape]:
    """Return the autoencoder of a new generator and the shape of its latents. Errors: UserError."""
    if config.autoencoder:
        autoencoder = open_latents(Path(config.autoencoder), images.shape, config.image_size, encoding(config))
        return autoencoder, autoencoder.shape
    if config.image_size:
        raise UserError(
            "generator.image_size: only an autoencoder sees images of another size; name its folder as"
            " generator.autoencoder, or a trained generator as generator.source"
        )
    return Pixels(), images.shape


def encoding(config: GeneratorConfig) -> Precision:
    """Return the precision of encoding images: float32 unless training asks for bfloat16."""
    return "bfloat16" if config.precision == "bfloat16" else "float32"


def new_start(config: GeneratorConfig, images: ImageSet) -> Start:
    autoencoder, shape = own_autoencoder(config, images)
    kind = "diffusers" if config.time_frequencies == "auto" else config.time_frequencies
    denoiser = set_frequencies(new_denoiser(config, shape, len(images.class_names)), kind)
    network = Path(config.autoencoder) if config.autoencoder else None
    conditions = Conditions(tuple(range(len(images.class_names))))
    scheduler = noise_schedule(config, CLIP if network else 1.0)
    return Start(denoiser, autoencoder, network, scheduler, conditions, transformer_predicting(config.prediction))


def tuned_start(config: GeneratorConfig, images: ImageSet, kept: Path) -> Start:
    """Return the start of fine-tuning. kept: the folder of embedded prompts. Errors: UserError."""
    source = load_source(config.source, images.shape, frequencies=config.time_frequencies)
    denoiser, with_classes = source.denoiser.requires_grad_(True), source.family.with_classes
    if with_classes is None:
        conditions = source.family.conditions(request_of(config, images.class_names, kept))
    else:
        known = source_vocabulary(config.source)
        assert known is not None
        starts = start_ids(images.class_names, known, read_table(config.class_map, images.class_names))
        log.info(
            f"generator: {len(starts) - starts.count(None)} of {len(starts)} classes start from one of {config.source},"
            " the others from its null class"
        )
        denoiser, conditions = with_classes(denoiser, starts), Conditions(tuple(range(len(starts))))
    for_tuning(denoiser, config)
    if config.tune != "full":
        learning = sum(p.numel() for p in denoiser.parameters() if p.requires_grad)
        share = learning / sum(p.numel() for p in denoiser.parameters())
        log.info(f"generator: {config.tune} trains {learning:,} parameters, {100 * share:.2g} % of all")
    scheduler = diffusers.DDPMScheduler.from_config(source.scheduler_config)
    if not isinstance(source.autoencoder, Latents):
        return Start(denoiser, Pixels(), None, scheduler, conditions, source.family)
    in_precision(source.autoencoder.network, encoding(config))
    network = autoencoder_folder(config.source)
    return Start(denoiser, source.autoencoder, network, scheduler, conditions, source.family)
