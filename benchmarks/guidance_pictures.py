"""Draw the pictures of docs/concepts/guidance.md from a finished run on digits.

    python benchmarks/guidance_pictures.py RUN docs/pictures

Every picture samples with the run's generator, reference and learners of increment 3. Variants start from the same
noise, so that only guidance differs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from lgd.analysis.measure import COLOURS
from lgd.config import Config, load_config, with_values
from lgd.diffusion.types import Denoiser, Prediction, Step
from lgd.distillation.layout import Run
from lgd.distillation.methods.sampled import by_learnability
from lgd.distillation.methods.sampling import (
    SamplingContext,
    candidate_specs,
    decode,
    sample_candidates,
    score_candidates,
)
from lgd.distillation.resources import Resources
from lgd.distillation.selection import CandidateScores, rule_named
from lgd.experiments.resolve import resolve
from lgd.report.plots import render
from lgd.storage.files import write_bytes

INCREMENT = 3
NO_GUIDANCE: dict[str, Any] = {"guidance.strength": 0.0, "guidance.deviation": 0.0}


@dataclass(frozen=True)
class Sampled:
    """Images of one variant, class by class, with what the classifiers say of them."""

    images: Tensor
    """uint8, (B, C, H, W)"""
    labels: Tensor
    scores: CandidateScores
    predicted: dict[int, Tensor]
    """by step index, the clean images that the denoiser predicts before guidance, uint8, (B, C, H, W)"""


def sampled(config: Config, run: Path, values: Mapping[str, Any], slots: int = 1) -> Sampled:
    """Sample `slots` x kappa images of every class under the run's configuration with some values changed."""
    experiment = resolve(with_values(config, values))
    growth = experiment.growth(Run(run), experiment.assets(run))
    resources = Resources(growth, INCREMENT, range(10))
    predicted, guide = dict[int, Tensor](), by_learnability(resources)
    context = SamplingContext(
        resources,
        resources.config,
        lambda denoiser, labels, slots: guide(recorded(denoiser, resources, predicted), labels, slots),
        resources.memory(),
    )
    specs = candidate_specs(context, range(slots))
    latents = sample_candidates(context, specs)
    images, labels = decode(resources, latents), torch.tensor([spec.label for spec in specs])
    scores = score_candidates(resources, images, labels, resources.config.guidance.omega, scored=True)
    return Sampled(images, labels, scores, predicted)


def recorded(denoiser: Denoiser, resources: Resources, predicted: dict[int, Tensor]) -> Denoiser:
    """Wrap a denoiser so that the images that it predicts are kept by the step's index."""

    def recording(x_t: Tensor, step: Step) -> Prediction:
        prediction = denoiser(x_t, step)
        predicted[step.index] = decode(resources, prediction.x0)
        return prediction

    return recording


def grid(rows: Sequence[Sequence[Tensor]], left: Sequence[str], top: Sequence[str] = ()) -> Figure:
    """Draw rows of grey images (1, H, W) with a label at the left of each row and above each column."""
    figure, axes = plt.subplots(len(rows), len(rows[0]), squeeze=False, figsize=(1.9 + len(rows[0]), len(rows)))
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            axis = axes[r][c]
            axis.imshow(image[0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if r == 0 and top:
                axis.set_title(top[c], fontsize=10)
        axes[r][0].set_ylabel(left[r], rotation=0, ha="right", va="center", fontsize=10)
    figure.subplots_adjust(wspace=0.06, hspace=0.06)
    return figure


def summary(variant: Sampled) -> str:
    """Return the mean losses of a variant and its share of valid images, on three lines."""
    scores = variant.scores
    return (
        f"learner's loss {scores.learner_loss.mean():.2f}\nreference's loss {scores.reference_loss.mean():.2f}\n"
        f"valid {scores.valid.float().mean():.0%}"
    )


def steps_picture(config: Config, run: Path) -> Figure:
    """Draw the predicted clean image of one class along the steps, with and without guidance."""
    label, indices = 3, (49, 44, 38, 32, 26, 20, 10, 0)
    variants = {
        "unguided": NO_GUIDANCE,
        "learnability": {"guidance.deviation": 0.0},
        "learnability\nand deviation": {},
    }
    rows, left = [], []
    for name, values in variants.items():
        found = sampled(config, run, {"stages.candidates": 1, **values})
        rows.append([found.predicted[index][label] for index in indices])
        left.append(f"{name}\nS = {found.scores.score[label]:.2f}")
    return grid(rows, left, [f"step {index}" for index in indices])


def strength_picture(config: Config, run: Path) -> Figure:
    """Draw one image of each class at several strengths of learnability guidance."""
    rows, left = [], []
    for strength in (0.0, 0.2, 0.45, 1.0, 2.0):
        values = {"guidance.strength": strength, "guidance.deviation": 0.0, "stages.candidates": 1}
        found = sampled(config, run, values)
        rows.append(list(found.images))
        left.append(f"strength {strength:g}\n{summary(sampled(config, run, values, 10))}")
    return grid(rows, left)


def omega_picture(config: Config, run: Path) -> Figure:
    """Plot the learner's loss against the reference's for 100 images of three variants, from the same noise."""
    variants: dict[str, dict[str, Any]] = {
        "unguided": NO_GUIDANCE,
        "guided, omega = 0": {"guidance.omega": 0.0, "guidance.deviation": 0.0},
        "guided, omega = 1": {"guidance.omega": 1.0, "guidance.deviation": 0.0},
    }
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), sharex=True, sharey=True)
    for axis, colour, (name, values) in zip(axes, COLOURS, variants.items(), strict=False):
        found = sampled(config, run, {"stages.candidates": 1, **values}, slots=10)
        scores, valid = found.scores, found.scores.valid
        for marker, chosen in (("o", valid), ("x", ~valid)):
            axis.scatter(scores.reference_loss[chosen], scores.learner_loss[chosen], s=18, marker=marker, color=colour)
        axis.set(xscale="log", xlabel="reference's loss, nats")
        axis.set_title(f"{name}\n{summary(found)}", fontsize=10)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("learner's loss, nats")
    figure.subplots_adjust(wspace=0.08)
    return figure


def candidates_picture(config: Config, run: Path) -> Figure:
    """Draw the candidates of one slot for four classes, with a frame around the kept one."""
    found = sampled(config, run, {"stages.candidates": 6})
    scores, kappa = found.scores, 6
    kept = rule_named(config.stages.selection).choose(scores.by_slot(kappa), config.stages).tolist()
    labels = (1, 3, 8, 9)
    rows = [list(found.images[label * kappa : (label + 1) * kappa]) for label in labels]
    figure = grid(rows, [f"class {label}" for label in labels])
    for r, label in enumerate(labels):
        for k in range(kappa):
            axis, index = figure.axes[r * kappa + k], label * kappa + k
            valid = bool(scores.valid[index])
            axis.set_xlabel(f"S = {scores.score[index]:.2f}" + ("" if valid else ", invalid"), fontsize=8)
            for spine in axis.spines.values():
                spine.set(linewidth=4 if k == kept[label] else 0.5, color=COLOURS[1] if k == kept[label] else "grey")
    figure.subplots_adjust(hspace=0.4)
    return figure


PICTURES = {
    "steps": steps_picture,
    "strength": strength_picture,
    "omega": omega_picture,
    "candidates": candidates_picture,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    config = load_config(str(options.run / "config.json"))
    for name, draw in PICTURES.items():
        write_bytes(options.out / f"guidance-{name}.png", render(draw(config, options.run), "png"))


if __name__ == "__main__":
    main()
