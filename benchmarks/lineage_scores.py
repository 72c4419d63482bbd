"""The lineage's loop against what a run does, on the same seeds: seconds, and the scores of the kept images.

    python benchmarks/lineage_scores.py RUN [--slots 5] [--first 0] [--decoder DIR] [--fast denoiser:0.03 x0:0.05]
                                        [--keep FILE]

RUN is a finished run of `lgd`. Both ways draw the same slots of every class with the same seeds, at the same number of
steps and candidates, without deviation; one thread, processor time, so that other work does not count. The loop draws
single images in float32 through the whole network and the large decoder at every step of the window. Its scores are
kept in FILE as they come, so that an interrupted measurement goes on, and other strengths meet the same images.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from time import process_time
from typing import Any

import torch

from lgd.config import Config, with_values
from lgd.distillation.methods.sampled import by_learnability
from lgd.distillation.methods.sampling import SamplingContext, sample_slots, without_selection
from lgd.profiling.bench import Settings, exact_copy, lineage_score, score_of, unguided, with_steps
from lgd.profiling.networks import run_networks
from lgd.storage.files import read_json_lines, write_text


def looped(networks: Any, config: Config, label: int, slot: int, keep: Path | None) -> dict[str, Any]:
    """What the loop keeps in one slot, and the processor seconds it took; from the file, if it is there."""
    rows = read_json_lines(keep) if keep and keep.exists() else []
    for row in rows:
        if (row["label"], row["slot"]) == (label, slot):
            return dict(row)
    start = process_time()
    score = lineage_score(networks, config, label, slot)
    row = {"label": label, "slot": slot, "score": score, "seconds": process_time() - start}
    if keep:
        write_text(keep, "".join(json.dumps(kept) + "\n" for kept in (*rows, row)))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--slots", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="slot to begin with; choose on some, measure on others")
    parser.add_argument("--keep", type=Path, help="JSON lines: label, slot, score and seconds of the loop's images")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--candidates", type=int, default=3)
    parser.add_argument("--decoder", default="")
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--fast", nargs="+", default=["denoiser:0.03"], help="route:lambda of the ways to compare")
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = run_networks(options.run, options.candidates, 10**6, "cpu", options.decoder)
    base = with_steps(networks.config, Settings(options.steps, 1, 1, 1))
    millions = sum(p.numel() for p in networks.generator.denoiser.parameters()) / 1e6
    guidance, slots = base.guidance, list(range(options.first, options.first + options.slots))
    print(f"{millions:.1f} M parameters, {options.steps} steps, window {guidance.window}, omega {guidance.omega}\n")
    print("| way | lambda | s per kept image | x lineage | in unguided ones | mean score | minus lineage | % |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")

    def drawn(config: Config, guide: Any) -> tuple[float, list[float]]:
        """Processor seconds per kept image, and the scores."""
        own: Any = replace(networks, config=config)
        memory = {label: torch.empty(0) for label in networks.classes}
        start = process_time()
        kept = sample_slots(SamplingContext(own, config, guide(own), memory), slots, scored=True)
        return (process_time() - start) / len(kept), [score_of(item) for item in kept]

    exact = exact_copy(networks)
    rows = [looped(exact, base, label, slot, options.keep) for slot in slots for label in networks.classes]
    slow, lineage = [row["score"] for row in rows], fmean(row["seconds"] for row in rows)
    plain, plain_scores = drawn(base, lambda own: unguided)
    single, single_scores = drawn(without_selection(base), lambda own: unguided)

    def row(way: str, strength: float, seconds: float, scores: list[float]) -> None:
        found = ""
        if scores is not slow:
            differences = [a - b for a, b in zip(scores, slow, strict=True)]
            error, off = stdev(differences) / len(differences) ** 0.5, fmean(differences)
            share = 100 / fmean(slow)
            found = f"{off:+.3f} ± {error:.3f} | {share * off:+.1f} ± {share * error:.1f}"
        cost = f"{seconds:.3f} | {lineage / seconds:.1f} | {seconds / plain:.2f}"
        print(f"| {way} | {strength} | {cost} | {fmean(scores):.3f} | {found or '- | -'} |", flush=True)

    row("lineage", guidance.strength, lineage, slow)
    row("unguided, as many candidates", 0, plain, plain_scores)
    row("unguided, one candidate", 0, single, single_scores)
    for way in options.fast:
        route, _, strength = way.partition(":")
        values = {"strength": float(strength), "route": route, "every": options.every}
        fast = with_values(base, {f"guidance.{name}": value for name, value in values.items()})
        row(f"{route}, every {options.every}", float(strength), *drawn(fast, by_learnability))


if __name__ == "__main__":
    main()
