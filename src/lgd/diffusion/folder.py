"""A generator on disk, ours or diffusers', and the one that a run samples from.

GENERATOR/transformer/   scheduler/   classes.json   generator.json   and, unless it makes pixels, autoencoder/
latents.json
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lgd.config import LARGEST_TOML, GeneratorConfig, Precision, PromptConfig, TimeFrequencies
from lgd.errors import UserError
from lgd.storage.files import copy_file, read_json, read_limited, sha256, write_json

from . import diffusers_lazily as diffusers
from .autoencoder import Latents, Pixels, Shape, load_latents, save_latents
from .autoencoder_networks import network_files
from .class_map import Vocabulary, map_classes, vocabulary
from .families import Conditions, Family, Request, family_of, transformer_predicting
from .families.dit import DIT
from .generator import Generator
from .pretrained import PREFIX, load_pipeline, pipeline_folder, with_pixels
from .text import ENCODERS
from .time_embedding import RECORD, frequencies_of

ORIGIN = "source.json"
"""record of the source that a generator was tuned from, or a run samples from"""
TUNING = {"none": "", "full": "in full", "difffit": "as DiffFit does", "lora": "by LoRA"}
"""how the record tells `generator.tune`"""
PARTS = ("transformer", "unet", "scheduler", "autoencoder", "vae", *ENCODERS, *ENCODERS.values())
KEPT = ("model_index.json", "README.md")
"""of a pipeline's own files, those that it keeps when it is tuned"""
FILES = ("classes.json", "latents.json", "model_index.json", RECORD)


def save_pipeline(generator: Generator, folder: Path, source: str) -> None:
    """Write a pipeline that differs from `source` in its denoiser and, unless prompts name classes, in their names."""
    place, part = source_folder(source), generator.family.part
    parts = [path for name in PARTS if name != part for path in sorted((place / name).glob("*"))]
    for path in [*(place / name for name in KEPT), *parts]:
        if path.suffix in (".json", ".safetensors", ".txt", ".md") and path.is_file():
            copy_file(path, folder / path.relative_to(place))
    generator.denoiser.save_pretrained(folder / part)
    if generator.family.vocabulary is not None:
        labels = {str(number): name for number, name in enumerate(generator.class_names)}
        write_json(folder / "model_index.json", {**read_json(folder / "model_index.json"), "id2label": labels})


def save_generator(generator: Generator, folder: Path, autoencoder: Path | None = None) -> None:
    """Write denoiser and scheduler as diffusers does, the class map, and the frequencies of the timestep embedding.

    autoencoder: the folder that the generator's autoencoder was loaded from, unless it makes pixels.
    """
    generator.denoiser.save_pretrained(folder / "transformer")
    diffusers.DDPMScheduler.from_config(generator.scheduler_config).save_pretrained(folder / "scheduler")
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
    scheduler_config = read_json(folder / "scheduler" / "scheduler_config.json")
    denoiser = DIT.load(folder, device, precision, frequencies)
    names, ids = tuple(classes), tuple(classes.values())
    generator = Generator(denoiser, scheduler_config, Pixels(), names, ids, source_family(str(folder)))
    if not (folder / "latents.json").exists():
        return with_pixels(generator, folder, image_shape)
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
    """Whether a source is a pipeline, imported or as diffusers saves it, rather than a generator trained by lgd."""
    return source.startswith(PREFIX) or (Path(source) / "model_index.json").is_file()


def source_folder(source: str) -> Path:
    """Where a source's files are; a Hub repository is downloaded. Errors: UserError."""
    return pipeline_folder(source.removeprefix(PREFIX)) if is_pipeline(source) else Path(source)


def autoencoder_folder(source: str) -> Path:
    return source_folder(source) / ("vae" if is_pipeline(source) else "autoencoder")


def source_family(source: str) -> Family:
    """Return the family of a source; generators of our own layout are transformers. Errors: UserError."""
    if is_pipeline(source):
        return family_of(source_folder(source))
    path = Path(source) / "scheduler" / "scheduler_config.json"
    return transformer_predicting(read_json(path).get("prediction_type") if path.is_file() else None)


def source_vocabulary(source: str) -> Vocabulary | None:
    """The classes that a source knows, None where prompts name them; its weights are not read. Errors: UserError."""
    if is_pipeline(source):
        folder = source_folder(source)
        names_of = family_of(folder).vocabulary
        return names_of(folder) if names_of else None
    classes, size = read_classes(Path(source))
    return vocabulary(source, size, classes.items())


def check_null(source: str, scale: float) -> None:
    """Check that a source can be sampled with classifier-free guidance of `scale`. Errors: UserError."""
    known = source_vocabulary(source)
    if scale != 1 and known and not known.has_null:
        raise UserError(
            f"{source}: has no null class, which classifier-free guidance needs; sampling.classifier_free_scale (of"
            " sample: --scale) must be 1"
        )


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


def request_of(config: GeneratorConfig, class_names: Sequence[str], kept: Path | None = None) -> Request:
    """Ask the configured source for conditions of the classes. Errors: UserError for a source that is not there."""
    source = config.source
    return Request(config, source_folder(source), source_vocabulary(source), class_names, kept)


def with_conditions(generator: Generator, class_names: Sequence[str], found: Conditions) -> Generator:
    embeddings = found.embeddings and found.embeddings.to(generator.device)
    return replace(generator, class_names=tuple(class_names), class_ids=found.class_ids, embeddings=embeddings)


def open_generator(
    config: GeneratorConfig,
    trained: Path,
    class_names: Sequence[str],
    image_shape: Shape,
    device: str = "cpu",
    precision: Precision = "float32",
) -> Generator:
    """The generator that a run samples from: the configured source, or the one trained into folder `trained`.

    Embedded prompts are kept in `trained`. Errors: as `load_generator`, and naming the classes without a condition.
    """
    if not config.source or config.tune != "none":
        config = replace(config, source=str(trained), class_map="", time_frequencies="auto")
    found = source_family(config.source).conditions(request_of(config, class_names, trained))
    generator = load_source(config.source, image_shape, device, precision, config.time_frequencies)
    return with_conditions(generator, class_names, found)


def open_classes(
    generator: Generator, source: str, names: Sequence[str], most: int, prompts: PromptConfig | None = None
) -> Generator:
    """The generator loaded from a source, with the classes of these names or ids; without names, the first `most`.

    prompts: for a source whose conditions they are. Errors: UserError naming the classes that cannot be mapped, and for
    prompts without a class.
    """
    known = source_vocabulary(source)
    if known is None:
        if not names:
            raise UserError(f"{source}: samples by prompts and has no classes of its own; name some with --classes")
        request = request_of(GeneratorConfig(source=source, prompts=prompts or PromptConfig()), names)
        generator.family.check(request)
        return with_conditions(generator, names, generator.family.conditions(request))
    if not names:
        own = dict(zip(generator.class_names, generator.class_ids, strict=True))
        names = list(own or map(str, range(known.size)))[:most]
    table = {name: int(name) for name in names if name.isdecimal() and known.find(name) is None}
    return replace(generator, class_names=tuple(names), class_ids=map_classes(names, known, table))


def pin_source(config: GeneratorConfig, path: Path, begun: Path) -> None:
    """Record in the file `path` what the configured source is, or make sure that it has not changed since.

    begun: what was begun with it, for the message. Errors: UserError naming a file that has changed.
    """
    folder = source_folder(config.source)
    record: dict[str, Any] = {
        "source": config.source,
        "tune": config.tune,
        "family": source_family(config.source).summary,
    }
    record |= {"licence": licence_of(folder), "tuned_from": tuned_from(folder), "tuning": TUNING[config.tune]}
    if config.tune == "lora":
        record["tuning"] += f" of rank {config.lora.rank}"
    pin_files(fingerprint(config.source), path, begun, record)


def tuned_from(folder: Path) -> tuple[str, str] | None:
    """Return the source that a generator of ours was tuned from, and how; None for one that was not tuned."""
    record = read_json(folder / ORIGIN) if (folder / ORIGIN).is_file() else {}
    return (record["source"], record["tuning"]) if record.get("tuning") else None


def licence_of(folder: Path) -> str:
    """Return the licence of a source's weights as its files tell it: our records, or README.md's header; else ""."""
    for name in (RECORD, ORIGIN):
        record = read_json(folder / name) if (folder / name).is_file() else {}
        if isinstance(record, dict) and isinstance(record.get("licence"), str) and record["licence"]:
            return record["licence"]
    card = folder / "README.md"
    found = re.search(r"^license: *(\S+)", read_limited(card, LARGEST_TOML), re.MULTILINE) if card.is_file() else None
    return found[1] if found else ""


def pin_decoder(folder: Path, path: Path, begun: Path) -> None:
    pin_files({file.name: sha256(file) for file in network_files(folder)}, path, begun, {"source": str(folder)})


def pin_files(files: dict[str, str], path: Path, begun: Path, record: dict[str, Any]) -> None:
    """Write the digests of `files` into `path`, with what else is to be recorded, or compare with those there."""
    if not path.exists():
        write_json(path, {**record, "files": files})
    before = read_json(path)["files"]
    changed = sorted(name for name in before.keys() | files.keys() if before.get(name) != files.get(name))
    if changed:
        raise UserError(f"{record['source']}: {changed[0]} is not the file that {begun} was begun with")


def fingerprint(source: str) -> dict[str, str]:
    folder = source_folder(source)
    files = [folder / name for name in FILES]
    files += [
        path for part in PARTS for path in sorted((folder / part).glob("*")) if path.suffix in (".json", ".safetensors")
    ]
    return {str(path.relative_to(folder)): sha256(path) for path in files if path.is_file()}
