"""Compare the sampling of `lgd` with the loop of IGD's public code: seconds and scores of the kept images.

    python benchmarks/igd_reference_scores.py RUN [--slots 5] [--first 0] [--decoder DIR]
                                              [--fast denoiser:0.03 x0:0.05] [--keep FILE]

RUN is a finished run of `lgd`. Both sample the same slots of every class, with the same seeds, steps and candidates and
without deviation guidance. Times are processor times of one thread, so that other load hardly changes them. The loop
samples single images in float32 and differentiates the whole denoiser and the large decoder at every step of the
window. FILE keeps its scores as they come: an interrupted measurement continues, and other strengths reuse them.
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
from igd_reference import exact_copy, igd_score

from lgd.distillation.methods.candidates import SamplingContext
from lgd.distillation.methods.sampled import by_learnability
from lgd.distillation.methods.sampling import SAMPLED, sample_slots, without_selection
from lgd.distillation.recipe import Recipe
from lgd.guidance.learnability import fixed_strength
from lgd.profiling.bench import Settings, score_of, with_steps
from lgd.profiling.networks import altered, run_networks
from lgd.storage.files import read_json_lines, write_text


def igd_row(networks: Any, config: Recipe, label: int, slot: int, keep: Path | None) -> dict[str, Any]:
    """Return the score of the image kept by the loop in a slot, and its processor seconds, from `keep` if known."""
    rows = read_json_lines(keep) if keep and keep.exists() else []
    for row in rows:
        if (row["label"], row["slot"]) == (label, slot):
            return dict(row)
    start = process_time()
    score = igd_score(networks, config, label, slot)
    row = {"label": label, "slot": slot, "score": score, "seconds": process_time() - start}
    if keep:
        write_text(keep, "".join(json.dumps(kept) + "\n" for kept in (*rows, row)))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--slots", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="first slot; tune on some slots and measure on others")
    parser.add_argument("--keep", type=Path, help="JSON lines with label, slot, score and seconds of the loop's images")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--candidates", type=int, default=3)
    parser.add_argument("--decoder", default="")
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--fast", nargs="+", default=["denoiser:0.03"], help="route:lambda of each variant")
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = run_networks(options.run, options.candidates, 10**6, "cpu", options.decoder)
    base = with_steps(networks.config, Settings(options.steps, rounds=1, every=1))
    millions = sum(p.numel() for p in networks.generator.denoiser.parameters()) / 1e6
    guidance, slots = base.guidance, list(range(options.first, options.first + options.slots))
    print(f"{millions:.1f} M parameters, {options.steps} steps, window {guidance.window}, omega {guidance.omega}\n")
    print("| variant | lambda | s per kept image | x IGD's loop | in unguided images | mean score | minus loop | % |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")

    def measured(config: Recipe, guide: Any) -> tuple[float, list[float]]:
        """Return the processor seconds per kept image, and the scores."""
        own = altered(networks, config=config)
        memory = {label: torch.empty(0) for label in networks.classes}
        start = process_time()
        context = SamplingContext(own, config, guide(own), memory, scored=True)
        kept = sample_slots(context, [SAMPLED.begin(context)], slots)
        return (process_time() - start) / len(kept), [score_of(item) for item in kept]

    exact = exact_copy(networks)
    rows = [igd_row(exact, base, label, slot, options.keep) for slot in slots for label in networks.classes]
    loop_scores, loop = [row["score"] for row in rows], fmean(row["seconds"] for row in rows)
    plain, plain_scores = measured(base, lambda own: lambda denoiser, labels, slots: denoiser)
    single, single_scores = measured(without_selection(base), lambda own: lambda denoiser, labels, slots: denoiser)

    def row(variant: str, strength: float, seconds: float, scores: list[float]) -> None:
        found = ""
        if scores is not loop_scores:
            differences = [a - b for a, b in zip(scores, loop_scores, strict=True)]
            error, off = stdev(differences) / len(differences) ** 0.5, fmean(differences)
            share = 100 / fmean(loop_scores)
            found = f"{off:+.3f} ± {error:.3f} | {share * off:+.1f} ± {share * error:.1f}"
        cost = f"{seconds:.3f} | {loop / seconds:.1f} | {seconds / plain:.2f}"
        print(f"| {variant} | {strength} | {cost} | {fmean(scores):.3f} | {found or '- | -'} |", flush=True)

    row("IGD's loop", fixed_strength(guidance), loop, loop_scores)
    row("unguided, as many candidates", 0, plain, plain_scores)
    row("unguided, one candidate", 0, single, single_scores)
    for variant in options.fast:
        route, _, strength = variant.partition(":")
        fast = replace(base, guidance=replace(guidance, strength=float(strength), route=route, every=options.every))
        row(f"{route}, every {options.every}", float(strength), *measured(fast, by_learnability))


if __name__ == "__main__":
    main()
