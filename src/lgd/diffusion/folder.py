"""A generator on disk, ours or diffusers', and the one that a run draws with.

GENERATOR/transformer/   scheduler/   classes.json   generator.json   and, unless it makes pixels, autoencoder/
latents.json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffusers import DDPMScheduler

from lgd.config import GeneratorConfig, Precision, TimeFrequencies
from lgd.errors import UserError
from lgd.storage.files import read_json, sha256, write_json

from .autoencoder import Latents, Pixels, Shape, load_latents, save_latents
from .autoencoder_networks import network_files
from .class_map import Vocabulary, map_classes, read_table, vocabulary
from .generator import Generator, load_denoiser
from .pretrained import PREFIX, load_pipeline, pipeline_folder, read_vocabulary
from .time_embedding import RECORD, frequencies_of, saved_frequencies, set_frequencies

PARTS = ("transformer", "scheduler", "autoencoder", "vae")
FILES = ("classes.json", "latents.json", "model_index.json", RECORD)


def save_generator(generator: Generator, folder: Path, autoencoder: Path | None = None) -> None:
    """Write denoiser and scheduler as diffusers does, the class map, and the frequencies of the timestep embedding.

    autoencoder: the folder that the generator's autoencoder was loaded from, unless it makes pixels.
    """
    generator.denoiser.save_pretrained(folder / "transformer")
    DDPMScheduler.from_config(generator.scheduler_config).save_pretrained(folder / "scheduler")
    classes = dict(zip(generator.class_names, generator.class_ids, strict=True))
    write_json(folder / "classes.json", classes)
    write_json(folder / RECORD, {"time_frequencies": frequencies_of(generator.denoiser)})
    if isinstance(generator.autoencoder, Latents):
        assert autoencoder is not None
        save_latents(generator.autoencoder, autoencoder, folder)


def load_generator(
    folder: Path,
    image_shape: Shape | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
    frequencies: TimeFrequencies = "auto",
) -> Generator:
    """Read what `save_generator` wrote.

    image_shape: of the images to make, by default those of the autoencoder. frequencies: as `saved_frequencies` takes
    them. Errors: UserError naming the part that is missing or corrupt or does not fit.
    """
    classes, _ = read_classes(folder)
    kind, _ = saved_frequencies(folder, frequencies)
    scheduler_config = read_json(folder / "scheduler" / "scheduler_config.json")
    denoiser = set_frequencies(load_denoiser(folder / "transformer", device, precision), kind)
    generator = Generator(denoiser, scheduler_config, Pixels(), tuple(classes), tuple(classes.values()))
    if not (folder / "latents.json").exists():
        if image_shape not in (None, generator.latent_shape):
            raise UserError(
                f"{folder}: makes pixels of {generator.latent_shape} (C, H, W), not images of {image_shape}"
            )
        return generator
    autoencoder = load_latents(folder, image_shape, precision)
    autoencoder.network.to(device)
    if autoencoder.shape != generator.latent_shape:
        raise UserError(
            f"{folder}: the autoencoder's latents are {autoencoder.shape} (C, H, W), the denoiser's"
            f" {generator.latent_shape}"
        )
    return replace(generator, autoencoder=autoencoder)


def read_classes(folder: Path) -> tuple[dict[str, int], int]:
    """The class map of a generator of ours, and how many ids its denoiser has. Errors: UserError."""
    path = folder / "classes.json"
    if not path.exists() or not (folder / "transformer" / "config.json").exists():
        inside = f"; did you mean {folder / 'generator'}?" if (folder / "generator" / "classes.json").exists() else ""
        raise UserError(f"{folder}: not a generator made by lgd{inside}")
    classes = read_json(path)
    size = read_json(folder / "transformer" / "config.json").get("num_embeds_ada_norm")
    if not isinstance(classes, dict) or not isinstance(size, int):
        raise UserError(f"{path}: corrupt, not a class map")
    for name, number in classes.items():
        if not isinstance(number, int) or not 0 <= number < size:
            raise UserError(f"{path}: {name!r} has id {number!r}, which is not one of 0 to {size - 1}")
    return classes, size


def is_pipeline(source: str) -> bool:
    """Whether a source is a DiTPipeline, imported or as diffusers saves it, rather than a generator trained by lgd."""
    return source.startswith(PREFIX) or (Path(source) / "model_index.json").is_file()


def source_folder(source: str) -> Path:
    """Where a source's files are; a Hub repository is downloaded. Errors: UserError."""
    return pipeline_folder(source.removeprefix(PREFIX)) if is_pipeline(source) else Path(source)


def autoencoder_folder(source: str) -> Path:
    """Where a source keeps its autoencoder."""
    return source_folder(source) / ("vae" if is_pipeline(source) else "autoencoder")


def source_vocabulary(source: str) -> Vocabulary:
    """What a source calls its classes; its weights are not read. Errors: UserError."""
    folder = source_folder(source)
    if is_pipeline(source):
        return read_vocabulary(folder)
    classes, size = read_classes(folder)
    return vocabulary(source, size, classes.items())


def load_source(
    source: str,
    image_shape: Shape | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
    frequencies: TimeFrequencies = "auto",
) -> Generator:
    """A generator of ours with its own classes, or a pipeline, which knows no class names yet. Errors: UserError."""
    load = load_pipeline if is_pipeline(source) else load_generator
    return load(source_folder(source), image_shape, device, precision, frequencies)


def source_ids(config: GeneratorConfig, class_names: Sequence[str]) -> tuple[int, ...]:
    """The ids that the configured source has for the classes; its weights are not read.

    Errors: UserError for a source that is not there, and naming the classes that cannot be mapped.
    """
    return map_classes(class_names, source_vocabulary(config.source), read_table(config.class_map, class_names))


def open_generator(
    config: GeneratorConfig,
    trained: Path,
    class_names: Sequence[str],
    image_shape: Shape,
    device: str = "cpu",
    precision: Precision = "float32",
) -> Generator:
    """The generator that a run draws with: the configured source, or the one trained into folder `trained`.

    Errors: as `load_generator` and `source_ids`.
    """
    if not config.source or config.tune != "none":
        return load_generator(trained, image_shape, device, precision)
    ids = source_ids(config, class_names)
    generator = load_source(config.source, image_shape, device, precision, config.time_frequencies)
    return replace(generator, class_names=tuple(class_names), class_ids=ids)


def open_classes(generator: Generator, source: str, names: Sequence[str], most: int) -> Generator:
    """The generator loaded from a source, with the classes of these names or ids; without names, the first `most`.

    Errors: UserError naming the classes that cannot be mapped.
    """
    known = source_vocabulary(source)
    if not names:
        own = dict(zip(generator.class_names, generator.class_ids, strict=True))
        names = list(own or map(str, range(known.size)))[:most]
    table = {name: int(name) for name in names if name.isdecimal() and known.find(name) is None}
    return replace(generator, class_names=tuple(names), class_ids=map_classes(names, known, table))


def pin_source(config: GeneratorConfig, path: Path, begun: Path) -> None:
    """Record in the file `path` what the configured source is, or make sure that it has not changed since.

    begun: what was begun with it, for the message. Errors: UserError naming a file that has changed.
    """
    pin_files(fingerprint(config.source), path, begun, {"source": config.source, "tune": config.tune})


def pin_decoder(folder: Path, path: Path, begun: Path) -> None:
    """The same for the small decoder of guidance in `folder`."""
    pin_files({file.name: sha256(file) for file in network_files(folder)}, path, begun, {"source": str(folder)})


def pin_files(files: dict[str, str], path: Path, begun: Path, record: dict[str, str]) -> None:
    """Write the digests of `files` into `path`, with what else is to be recorded, or compare with those there."""
    if not path.exists():
        write_json(path, {**record, "files": files})
    before = read_json(path)["files"]
    changed = sorted(name for name in before.keys() | files.keys() if before.get(name) != files.get(name))
    if changed:
        raise UserError(f"{record['source']}: {changed[0]} is not the file that {begun} was begun with")


def fingerprint(source: str) -> dict[str, str]:
    """SHA-256 of every file that a source is read from."""
    folder = source_folder(source)
    files = [folder / name for name in FILES]
    files += [
        path for part in PARTS for path in sorted((folder / part).glob("*")) if path.suffix in (".json", ".safetensors")
    ]
    return {str(path.relative_to(folder)): sha256(path) for path in files if path.is_file()}
