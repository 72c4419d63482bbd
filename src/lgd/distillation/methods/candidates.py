"""The types of candidates and of their sources. A source is an entry that methods list: sampled images, real images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from lgd.diffusion.sampler import Start
from lgd.diffusion.types import Denoiser
from lgd.distillation.coverage import Coverage
from lgd.distillation.recipe import Growth, Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.selection import CandidateScores
from lgd.distillation.store import Candidate, SelectedImage
from lgd.execution.units import Unit

Guide = Callable[[Denoiser, Tensor, Tensor], Denoiser]
"""Wraps the denoiser of a batch in the method's own guidance; labels (B,) and slots (B,) lie on the device."""


@dataclass(frozen=True)
class CandidateSpec:
    """One candidate, before it is sampled or read."""

    label: int
    slot: int
    seed: int | None
    """of its noise; None for a real image"""
    real: int | None = None
    """position in the training set of the real image, or of the anchor of one that is sampled"""


@dataclass(frozen=True)
class Anchors:
    """The anchors of one unit."""

    positions: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    """in the training set, of a class and slot's candidates in turn; empty: sampling starts from noise"""
    latents: dict[int, Tensor] = field(default_factory=dict)
    """by position, (C, H, W) on the CPU"""

    def of(self, label: int, slot: int, candidate: int) -> int | None:
        """Return the position of a candidate's anchor in the training set; None without anchors."""
        chosen = self.positions.get((label, slot))
        return chosen[candidate % len(chosen)] if chosen else None

    def start(self, specs: Sequence[CandidateSpec], index: int, device: str) -> Start | None:
        """Return the latents at which candidates start with the step of `index`; None without anchors."""
        if not self.positions:
            return None
        return Start(
            torch.stack([self.latents[real] for spec in specs if (real := spec.real) is not None]).to(device), index
        )


@dataclass(frozen=True)
class SamplingContext:
    """Everything that the images of one unit share."""

    resources: Resources
    config: Recipe
    """the run's, as the method changes it"""
    guide: Guide
    memory: dict[int, Tensor]
    """by label, latents (M, C, H, W) of images already in the set, oldest first; on the device"""
    scored: bool = False
    """whether candidates compete by the selection rule, so that the learners are asked"""
    coverage: Coverage | None = None
    """what decides among the candidates of a class; None: they compete slot by slot"""
    anchors: Anchors = field(default_factory=Anchors)
    """from which candidates are sampled"""


@dataclass(frozen=True)
class Proposals:
    """Candidates of some places, a place being a slot of a class: as many of each place, one place after the other."""

    specs: Sequence[CandidateSpec]
    scores: CandidateScores
    """each (N,), on the CPU"""
    image: Callable[[int], Tensor]
    """returns a candidate's 8-bit image, uint8 (C, H, W), on the CPU"""
    latent: Callable[[int], Tensor | None]
    """returns a candidate's latent (C, H, W) on the CPU; None for an image that was not sampled"""


Propose = Callable[[Sequence[int]], Proposals]
"""Returns the candidates of some slots, slot after slot, and of each class within a slot."""


@dataclass(frozen=True)
class CandidateSource:
    """A place where candidates come from."""

    begin: Callable[[SamplingContext], Propose]
    """starts the work on one unit"""
    per_slot: Callable[[Recipe], int]
    """returns the number of candidates for every image kept"""
    generated: bool
    """whether they are sampled from the generator"""
    units: Callable[[Growth, Recipe], list[Unit]] = lambda growth, recipe: []
    """returns the units that must have been run before: measurements of the real images"""


@dataclass(frozen=True)
class Place:
    """The candidates of one slot of one class, from all sources."""

    candidates: list[tuple[Proposals, int]]
    """each with its index among the proposals of its source"""

    def select(self, k: int, scored: bool, keep_rejected: bool) -> SelectedImage:
        """Keep the candidate of index k; the manifest names none twice, and no score without `scored`.

        keep_rejected: carry the images of the others, too.
        """
        specs = [proposals.specs[index] for proposals, index in self.candidates]
        rows = {spec: candidate_row(*found, scored) for spec, found in zip(specs, self.candidates, strict=True)}
        (proposals, index), spec = self.candidates[k], specs[k]
        image, latent = proposals.image(index), proposals.latent(index)
        source = spec.real if spec.seed is None else None
        found = dict(zip(specs, self.candidates, strict=True)) if keep_rejected else {}
        rejected = tuple(part.image(i) for other, (part, i) in found.items() if other != spec)
        chosen = [*rows].index(spec)
        return SelectedImage(spec.label, spec.slot, image, latent, tuple(rows.values()), chosen, source, rejected)


def by_place(parts: Sequence[Proposals], places: int) -> tuple[list[Place], CandidateScores]:
    """Join the candidates of several sources place by place; returns them with their scores, (places, kappa)."""
    kappas = [len(part.specs) // places for part in parts]
    joined = [
        Place([(part, place * kappa + k) for part, kappa in zip(parts, kappas, strict=True) for k in range(kappa)])
        for place in range(places)
    ]
    slots = [part.scores.by_slot(kappa) for part, kappa in zip(parts, kappas, strict=True)]
    columns = (torch.cat([getattr(slot, f.name) for slot in slots], dim=1) for f in fields(CandidateScores))
    return joined, CandidateScores(*columns)


def candidate_row(proposals: Proposals, index: int, scored: bool) -> Candidate:
    """Return one candidate as the manifest records it."""
    spec, scores = proposals.specs[index], proposals.scores
    values = {f.name: getattr(scores, f.name)[index].item() for f in fields(CandidateScores)}
    row = Candidate(spec.seed, **values, real=spec.real)
    return row if scored else replace(row, score=None, learner_loss=None)
