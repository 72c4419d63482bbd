"""What guided sampling costs on this machine, against unguided sampling and against the lineage's loop."""

from __future__ import annotations

import platform
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from statistics import fmean
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from lgd import __version__
from lgd.config import Config, with_values
from lgd.diffusion.autoencoder_networks import in_precision
from lgd.diffusion.types import Denoiser, Step
from lgd.distillation.methods.sampled import by_learnability
from lgd.distillation.methods.sampling import SamplingContext, sample_slots, without_selection
from lgd.distillation.selection import select
from lgd.distillation.store import SelectedImage
from lgd.rng import image_seed

from .counting import operations
from .igd_reference import lineage_slot
from .measure import Clock, Times, take_turns
from .networks import Networks

GUIDED_SHARE = (10, 45, 50)
"""the window, and the steps it is of, where the steps are others"""


@dataclass(frozen=True)
class Settings:
    """How it is measured."""

    steps: int
    rounds: int
    every: int
    lineage_slots: int
    """slots (of one class each) that the lineage's loop draws"""
    clock: Clock = perf_counter
    matrix: int = 2048


def bench(networks: Networks, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything, as plain data for JSON; rates are medians over rounds in which the variants take turns."""
    peaks = matmul_peaks(settings.matrix, networks.device, settings.rounds, settings.clock)
    say("matrix products done")
    base = with_steps(networks.config, settings)
    variants = variants_of(base, settings.every, networks.guiding is not networks.generator.autoencoder)
    kept: dict[str, list[SelectedImage]] = {}

    def runner(name: str, config: Config, small: bool) -> Callable[[], None]:
        def run() -> None:
            kept[name] = draw(networks, config, small, guided=name != "unguided")

        return run

    functions = {name: runner(name, config, small) for name, (config, small) in variants.items()}
    times = take_turns(functions, settings.rounds, clock=settings.clock)
    say("sampling done")
    rows = {name: row(variants[name][0], times[name], kept[name], name != "unguided") for name in functions}
    exact = exact_copy(networks)
    scores: list[float] = []
    labels = list(networks.classes)[: settings.lineage_slots]

    def lineage() -> None:
        scores[:] = [lineage_score(exact, base, label) for label in labels]

    slow = take_turns({"lineage": lineage}, max(1, settings.rounds // 3), False, settings.clock)["lineage"]
    rows["lineage loop"] = row_of(len(labels), len(labels) * base.stages.candidates, slow, fmean(scores))
    say("lineage loop done")
    same = [d for d in kept[list(variants)[-1]] if d.label in labels]
    for entry in rows.values():
        entry["times_lineage"] = entry["kept_per_second"] / rows["lineage loop"]["kept_per_second"]
        for what in ("drawn", "kept"):
            entry[f"cost_per_{what}"] = rows["unguided"]["drawn_per_second"] / entry[f"{what}_per_second"]
    return {
        "lgd": __version__,
        "torch": torch.__version__,
        "device": device_name(networks.device),
        "threads": torch.get_num_threads(),
        "steps": settings.steps,
        "candidates": base.stages.candidates,
        "classes": len(networks.classes),
        "window": list(base.guidance.window),
        "every": settings.every,
        "matmul": peaks,
        "denoiser": denoiser_rate(networks, base, peaks, settings),
        "sampling": rows,
        "same_classes": {
            "fastest": fmean([score_of(d) for d in same]),
            "lineage loop": fmean(scores),
        },
        "profile": profile(lambda: draw(networks, *variants[list(variants)[-1]], guided=True)),
    }


def with_steps(config: Config, settings: Settings) -> Config:
    """With so many steps and the same share of them guided."""
    if config.sampling.steps == settings.steps:
        return config
    low, high, of = GUIDED_SHARE
    window = (low * settings.steps // of, min(settings.steps - 1, high * settings.steps // of))
    return with_values(config, {"sampling": replace(config.sampling, steps=settings.steps), "guidance.window": window})


def variants_of(base: Config, every: int, small: bool) -> dict[str, tuple[Config, bool]]:
    """By name, slowest last but one: the configuration, and whether it guides through the small decoder."""
    x0 = with_values(base, {"guidance.route": "x0"})
    found = {
        "unguided": (without_selection(base), False),
        "guided, route denoiser": (with_values(base, {"guidance.route": "denoiser"}), False),
        "guided, route x0": (x0, False),
    }
    name = "guided, route x0"
    if small:
        name += ", small decoder"
        found[name] = (x0, True)
    found[name + f", every {every}"] = (with_values(x0, {"guidance.every": every}), small)
    return found


def draw(networks: Networks, config: Config, small: bool, guided: bool) -> list[SelectedImage]:
    """One slot of every class, by the same functions as in a run."""
    own = replace(networks, config=config)
    if not small:
        own.guiding = networks.generator.autoencoder
    memory = {label: torch.empty(0) for label in networks.classes}
    resources: Any = own
    guide = by_learnability(resources) if guided else unguided
    return sample_slots(SamplingContext(resources, config, guide, memory), [0], scored=guided)


def unguided(denoiser: Denoiser, labels: Tensor, slots: Tensor) -> Denoiser:
    return denoiser


def row(config: Config, times: Times, kept: list[SelectedImage], guided: bool) -> dict[str, Any]:
    drawn = len(kept) * config.stages.candidates
    return row_of(len(kept), drawn, times, fmean(map(score_of, kept)) if guided else None)


def row_of(kept: int, drawn: int, times: Times, score: float | None) -> dict[str, Any]:
    """kept, drawn: images per turn, after and before selection."""
    return {
        "seconds": times.median,
        "spread": times.spread,
        "turns": len(times.seconds),
        "kept_per_second": kept / times.median,
        "drawn_per_second": drawn / times.median,
        "mean_score": score,
    }


def score_of(drawn: SelectedImage) -> float:
    score = drawn.candidates[drawn.chosen].score
    assert score is not None
    return score


def exact_copy(networks: Networks) -> Networks:
    """In float32, as the lineage computes."""
    generator = networks.generator
    dit = in_precision(deepcopy(generator.denoiser), "float32")
    autoencoder: Any = generator.autoencoder
    if hasattr(autoencoder, "network"):
        autoencoder = replace(autoencoder, network=in_precision(deepcopy(autoencoder.network), "float32"))
    return replace(networks, generator=replace(generator, denoiser=dit, autoencoder=autoencoder))


def lineage_score(networks: Networks, config: Config, label: int, slot: int = 0) -> float:
    """Of the image that the lineage's loop keeps in one slot."""
    config = with_values(config, {"guidance.route": "denoiser", "guidance.every": 1})
    seeds = [
        image_seed(config.seed, networks.increment, label, slot, candidate)
        for candidate in range(config.stages.candidates)
    ]
    latents, scores = lineage_slot(networks.generator, networks.learners, networks.reference, config, label, seeds)
    with torch.no_grad():
        images = networks.generator.autoencoder.decode(torch.stack(latents)).clamp(0, 1)
        valid = networks.reference(images).argmax(1).cpu() == label
    return scores[int(select(torch.tensor([scores]), valid[None], config.stages.selection))]


def matmul_peaks(n: int, device: str, rounds: int, clock: Clock = perf_counter) -> dict[str, float]:
    """Operations per second of a product of n x n matrices."""
    pairs = {name: torch.randn(2, n, n, device=device).to(getattr(torch, name)) for name in ("float32", "bfloat16")}
    functions = {name: (lambda p=pair: p[0] @ p[1]) for name, pair in pairs.items()}
    times = take_turns(functions, rounds, clock=clock)
    return {name: 2 * n**3 / min(taken.seconds) for name, taken in times.items()}


def denoiser_rate(networks: Networks, config: Config, peaks: dict[str, float], settings: Settings) -> dict[str, Any]:
    """Of one call on all candidates of all classes."""
    generator, precision = networks.generator, config.sampling.precision
    batch = len(networks.classes) * config.stages.candidates
    x = torch.randn(batch, *generator.latent_shape, device=networks.device)
    ids = torch.zeros(batch, dtype=torch.long, device=networks.device)

    @torch.no_grad()
    def call() -> None:
        generator.predict(x, Step(0, 500, 0.5), ids)

    flops = operations(call)
    taken = take_turns({"denoiser": call}, settings.rounds, clock=settings.clock)["denoiser"]
    return {
        "parameters": sum(p.numel() for p in generator.denoiser.parameters()),
        "precision": precision,
        "batch": batch,
        "flops": flops,
        "seconds": taken.median,
        "spread": taken.spread,
        "flops_per_second": flops / taken.median,
        "share_of_peak": flops / taken.median / peaks[precision],
        "share_of_bfloat16_peak": flops / taken.median / peaks["bfloat16"],
    }


def profile(function: Callable[[], Any]) -> dict[str, float]:
    """Shares of the time by kind of operation, the largest ten."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as found:
        function()
    events: list[Any] = list(found.key_averages())
    on_device = torch.cuda.is_available()
    times = {e.key: float(e.self_device_time_total if on_device else e.self_cpu_time_total) for e in events}
    total = sum(times.values()) or 1.0
    return {name: times[name] / total for name in sorted(times, key=lambda n: -times[n])[:10]}


def device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(result: dict[str, Any]) -> str:
    """What a person wants to see."""
    d, peaks = result["denoiser"], result["matmul"]
    lines = [
        f"{result['device']}, {result['threads']} threads, torch {result['torch']}",
        f"matrix product: {peaks['float32'] / 1e9:.0f} GFLOP/s in float32, {peaks['bfloat16'] / 1e9:.0f} in bfloat16",
        f"denoiser: {d['parameters'] / 1e6:.1f} M parameters, batch {d['batch']}, {d['precision']}:"
        f" {d['flops_per_second'] / 1e9:.0f} GFLOP/s, {d['share_of_peak']:.0%} of the peak in that precision",
        f"sampling: {result['steps']} steps, window {result['window']}, {result['classes']} classes x"
        f" {result['candidates']} candidates",
        "",
        "| variant | drawn/s | kept/s | spread | cost per drawn | per kept | x lineage | mean score |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, r in result["sampling"].items():
        score = "-" if r["mean_score"] is None else f"{r['mean_score']:.3f}"
        lines.append(
            f"| {name} | {r['drawn_per_second']:.3g} | {r['kept_per_second']:.3g} | ± {r['spread']:.0%} |"
            f" {r['cost_per_drawn']:.2f} | {r['cost_per_kept']:.2f} | {r['times_lineage']:.1f} | {score} |"
        )
    same = result["same_classes"]
    lines += [
        "",
        "costs are in unguided images; drawn counts the candidates, kept what is left of them",
        f"mean score on the classes that the lineage loop drew: {same['fastest']:.3f} by the last variant,"
        f" {same['lineage loop']:.3f} by the loop",
        "the last variant's time: " + ", ".join(f"{name} {share:.0%}" for name, share in result["profile"].items()),
    ]
    return "\n".join(lines) + "\n"
