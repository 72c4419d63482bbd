"""Measure the cost of guided sampling, relative to unguided sampling."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean
from time import perf_counter
from typing import Any

import torch

from lgd import __version__
from lgd.diffusion.types import Step
from lgd.distillation.methods.candidates import Guide, SamplingContext
from lgd.distillation.methods.sampled import by_learnability
from lgd.distillation.methods.sampling import SAMPLED, sample_slots, without_selection
from lgd.distillation.recipe import Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.evaluation.tables import Table, markdown
from lgd.execution.hardware import device_name
from lgd.progress import progress_bar

from .measure import Clock, Times, count, take_turns
from .networks import altered

GUIDED_SHARE = (10, 45, 50)
"""first and last guided step, and the number of steps to which they refer; scaled for other numbers"""


@dataclass(frozen=True)
class Settings:
    """Settings of the measurement."""

    steps: int
    """denoising steps"""
    rounds: int
    """measurements per variant"""
    every: int
    """guided every N-th step, in the variants that say so"""
    clock: Clock = perf_counter
    matrix: int = 2048
    """side of the matrices whose product gives the peak rate"""


def bench(networks: Resources, settings: Settings) -> dict[str, Any]:
    """Measure everything; returns plain data for JSON. The variants take turns, and rates are medians over rounds."""
    peaks = matmul_peaks(settings.matrix, networks.device, settings.rounds, settings.clock)
    base = with_steps(networks.config, settings)
    variants = variants_of(base, settings.every, networks.guiding is not networks.generator.autoencoder)
    kept: dict[str, list[SelectedImage]] = {}

    def runner(name: str, config: Recipe, small: bool) -> Callable[[], None]:
        def run() -> None:
            kept[name] = sample_classes(networks, config, small, guided=name != "unguided")

        return run

    functions = {name: runner(name, config, small) for name, (config, small) in variants.items()}
    with progress_bar(len(functions) * (settings.rounds + 1), "sampling") as advance:
        times = take_turns(functions, settings.rounds, clock=settings.clock, advance=advance)
    rows = {name: row(variants[name][0], times[name], kept[name], name != "unguided") for name in functions}
    for entry in rows.values():
        for kind in ("sampled", "kept"):
            entry[f"cost_per_{kind}"] = rows["unguided"]["sampled_per_second"] / entry[f"{kind}_per_second"]
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
        "profile": profile(lambda: sample_classes(networks, *variants[list(variants)[-1]], guided=True)),
    }


def with_steps(recipe: Recipe, settings: Settings) -> Recipe:
    if recipe.sampling.steps == settings.steps:
        return recipe
    low, high, of = GUIDED_SHARE
    window = (low * settings.steps // of, min(settings.steps - 1, high * settings.steps // of))
    sampling, guidance = replace(recipe.sampling, steps=settings.steps), replace(recipe.guidance, window=window)
    return replace(recipe, sampling=sampling, guidance=guidance)


def variants_of(base: Recipe, every: int, small: bool) -> dict[str, tuple[Recipe, bool]]:
    """Return each variant's settings, and whether it guides through the small decoder; the fastest variant last."""

    def guided(**values: Any) -> Recipe:
        return replace(base, guidance=replace(base.guidance, **values))

    x0 = guided(route="x0")
    found = {
        "unguided": (without_selection(base), False),
        "guided, route denoiser": (guided(route="denoiser"), False),
        "guided, route x0": (x0, False),
    }
    name = "guided, route x0"
    if small:
        name += ", small decoder"
        found[name] = (x0, True)
    found[name + f", every {every}"] = (guided(route="x0", every=every), small)
    return found


def sample_classes(networks: Resources, config: Recipe, small: bool, guided: bool) -> list[SelectedImage]:
    """Sample one image of every class, by the same functions as a run."""
    own = altered(networks, config=config, guiding=networks.guiding if small else networks.generator.autoencoder)
    memory = {label: torch.empty(0) for label in networks.classes}
    guide: Guide = by_learnability(own) if guided else lambda denoiser, labels, slots: denoiser
    context = SamplingContext(own, config, guide, memory, scored=guided)
    return sample_slots(context, [SAMPLED.begin(context)], [0])


def row(config: Recipe, times: Times, kept: list[SelectedImage], guided: bool) -> dict[str, Any]:
    """Return the rates of a variant that kept these images in each turn, before and after selection."""
    return {
        "seconds": times.median,
        "spread": times.spread,
        "turns": len(times.seconds),
        "kept_per_second": len(kept) / times.median,
        "sampled_per_second": len(kept) * config.stages.candidates / times.median,
        "mean_score": fmean(map(score_of, kept)) if guided else None,
    }


def score_of(image: SelectedImage) -> float:
    score = image.candidates[image.chosen].score
    assert score is not None
    return score


def matmul_peaks(n: int, device: str, rounds: int, clock: Clock = perf_counter) -> dict[str, float]:
    """Return the operations per second of a product of n x n matrices, by precision."""
    pairs = {name: torch.randn(2, n, n, device=device).to(getattr(torch, name)) for name in ("float32", "bfloat16")}
    functions = {name: (lambda p=pair: p[0] @ p[1]) for name, pair in pairs.items()}
    times = take_turns(functions, rounds, clock=clock)
    return {name: 2 * n**3 / min(taken.seconds) for name, taken in times.items()}


def denoiser_rate(networks: Resources, config: Recipe, peaks: dict[str, float], settings: Settings) -> dict[str, Any]:
    """Measure one call of the denoiser on all candidates of all classes."""
    generator, precision = networks.generator, config.sampling.precision
    batch = len(networks.classes) * config.stages.candidates
    x = torch.randn(batch, *generator.latent_shape, device=networks.device)
    ids = torch.zeros(batch, dtype=torch.long, device=networks.device)

    @torch.no_grad()
    def call() -> None:
        generator.predict(x, Step(0, 500, 0.5), ids)

    flops, _ = count(call, [])
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
    """Return the shares of the time of the ten most expensive kinds of operations."""
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


COLUMNS = {
    "sampled/s": "{sampled_per_second:.3g}",
    "kept/s": "{kept_per_second:.3g}",
    "spread": "± {spread:.0%}",
    "cost per sampled": "{cost_per_sampled:.2f}",
    "cost per kept": "{cost_per_kept:.2f}",
}


def table(result: dict[str, Any]) -> str:
    d, peaks = result["denoiser"], result["matmul"]
    lines = [
        f"{result['device']}, {result['threads']} threads, torch {result['torch']}",
        f"matrix product: {peaks['float32'] / 1e9:.0f} GFLOP/s in float32, {peaks['bfloat16'] / 1e9:.0f} in bfloat16",
        f"denoiser: {d['parameters'] / 1e6:.1f} M parameters, batch {d['batch']}, {d['precision']}:"
        f" {d['flops_per_second'] / 1e9:.0f} GFLOP/s, {d['share_of_peak']:.0%} of the peak in that precision",
        f"sampling: {result['steps']} steps, window {result['window']}, {result['classes']} classes x"
        f" {result['candidates']} candidates",
        "",
    ]
    rows = []
    for name, r in result["sampling"].items():
        score = "-" if r["mean_score"] is None else f"{r['mean_score']:.3f}"
        rows.append([name, *(form.format(**r) for form in COLUMNS.values()), score])
    lines += [
        markdown(Table("bench", "", ["variant", *COLUMNS, "mean score"], rows)),
        "costs are in unguided images; sampled: images before selection, kept: images after it",
        "time of the last variant: " + ", ".join(f"{name} {share:.0%}" for name, share in result["profile"].items()),
    ]
    return "\n".join(lines) + "\n"
