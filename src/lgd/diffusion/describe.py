"""`lgd generator show`: what a generator is made of, read from its JSON files and the headers of its weights."""

from math import prod
from pathlib import Path
from typing import Any

from lgd.config import GeneratorConfig
from lgd.errors import UserError, reading
from lgd.storage.files import read_json, read_json_lines

from .class_map import SHOWN
from .families.flow import SCHEDULER
from .finetune import ADAPTER
from .folder import ORIGIN, is_pipeline, licence_of, read_classes, source_family, source_folder, tuned_from
from .prediction_type import FLOW
from .time_embedding import RECORD, SHIFTS, saved_frequencies
from .vae_names import VAE_RECORD
from .weight_files import weight_shapes


def describe(source: str) -> str:
    """Lines about a generator of ours, finished or in training, or about a pipeline. Errors: UserError."""
    folder = source_folder(source)
    with reading(source):
        rows = tuned(folder)
        if (folder / "training.jsonl").is_file():
            rows += training(folder)
        if is_pipeline(source) or (folder / "transformer" / "config.json").is_file():
            rows += parts(folder, pretrained=is_pipeline(source))
    if not rows:
        raise UserError(f"{source}: not a generator, nor a training that has saved anything yet")
    return f"{source}\n" + "".join(f"  {name:<12} {text}\n" for name, text in rows)


def tuned(folder: Path) -> list[tuple[str, str]]:
    if not (folder / ORIGIN).is_file():
        return []
    record = read_json(folder / ORIGIN)
    digests = [digest for name, digest in record["files"].items() if name.endswith(".safetensors")]
    digest = f"; its first weights: SHA-256 {digests[0][:12]}..." if digests else ""
    alone = f"; {ADAPTER}/ has the updates alone" if (folder / ADAPTER).is_dir() else ""
    return [("tuned from", ", ".join(found) + digest + alone)] if (found := tuned_from(folder)) else []


def training(folder: Path) -> list[tuple[str, str]]:
    rows = read_json_lines(folder / "training.jsonl")
    if not rows:
        return []
    last = rows[-1]
    steps = GeneratorConfig().steps
    if (folder / "config.json").is_file():
        steps = read_json(folder / "config.json")["generator"]["steps"]
    state = "finished" if (folder / "done").exists() else f"step {last['step']} of {steps} at the last checkpoint"
    speed = f"{last['images_per_second']:.0f} images/s, {100 * last['waiting']:.1f} % of the time waiting for images"
    return [("training", f"{state}; loss {last['loss']:.4f}, {speed}")]


def parts(folder: Path, pretrained: bool) -> list[tuple[str, str]]:
    family = source_family(str(folder))
    net = read_json(folder / family.part / "config.json")
    if not pretrained:
        names = list(read_classes(folder)[0])
        known = f"{len(names)}: {', '.join(names[:SHOWN])}" + (", ..." if len(names) > SHOWN else "")
    elif family.vocabulary:
        known = f"{family.vocabulary(folder).size}, numbered from 0"
    else:
        known = "any, by prompts"
    millions = sum(map(prod, weight_shapes(folder / family.part).values())) / 1e6
    latents = f"{net['in_channels']} x {net['sample_size']} x {net['sample_size']}"
    licence = licence_of(folder)
    return [
        ("family", family.summary),
        *(imported(folder) or ([("licence", licence)] if licence else [])),
        ("classes", known),
        ("denoiser", f"{millions:.1f} M parameters: {family.describe(net)}" + learned(net)),
        ("latents", f"{latents}, {autoencoder(folder)}"),
        *([("time", time(folder))] if family.embeds_by_frequencies else []),
        ("noise", noise(read_json(folder / "scheduler" / "scheduler_config.json"))),
    ]


def learned(net: dict[str, Any]) -> str:
    return ", learned variance" if (net.get("out_channels") or net["in_channels"]) == 2 * net["in_channels"] else ""


def autoencoder(folder: Path) -> str:
    for part in ("vae", "autoencoder"):
        if (folder / part / "config.json").is_file():
            return f"of {read_json(folder / part / 'config.json')['_class_name']}" + image_size(folder)
    return "of taef2" + image_size(folder) if (folder / "autoencoder").is_dir() else "pixels"


def image_size(folder: Path) -> str:
    path = folder / "latents.json"
    return f", which sees images of {read_json(path)['image_size']} pixels" if path.is_file() else ""


def imported(folder: Path) -> list[tuple[str, str]]:
    if not (folder / "vae" / VAE_RECORD).is_file() or not (folder / RECORD).is_file():
        return []
    own, vae = read_json(folder / RECORD), read_json(folder / "vae" / VAE_RECORD)
    digests = ", ".join(f"SHA-256 {digest[:12]}..." for digest in own["sha256"].values())
    return [
        ("from", f"{own['source']}, {own['weights']} weights, {digests}; autoencoder {vae['variant']}"),
        ("licence", f"{own['licence']}; autoencoder {vae['licence']}"),
    ]


def time(folder: Path) -> str:
    try:
        kind, reason = saved_frequencies(folder)
    except UserError as error:
        return f"not known: {error}"
    return f"embedded with {kind}'s frequencies, exp(-ln(10000) i / {128 - SHIFTS[kind]}); {reason}"


def noise(scheduler: dict[str, Any]) -> str:
    shift = f", shift {scheduler['shift']:g}" if scheduler.get("_class_name") == SCHEDULER else ""
    if shift or scheduler.get("prediction_type") == FLOW:
        return f"{scheduler['num_train_timesteps']} steps of a flow{shift}; predicts the velocity"
    limit = scheduler.get("clip_sample_range", 1.0)
    clamp = f"; clean latents clamped to ±{limit:g}" if scheduler.get("clip_sample") else ""
    says = {"sample": "; predicts the clean sample", "v_prediction": "; predicts v"}
    return (
        f"{scheduler['num_train_timesteps']} {scheduler['beta_schedule']} steps, beta {scheduler['beta_start']:g} to"
        f" {scheduler['beta_end']:g}{says.get(scheduler.get('prediction_type', 'epsilon'), '')}{clamp}"
    )
