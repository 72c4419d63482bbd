"""Real images: methods that take them in an order of their class, and the source of real candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lgd.classifiers.architectures import predict
from lgd.config import RealConfig
from lgd.data.imageset import to_float
from lgd.distillation.recipe import Growth, Recipe
from lgd.distillation.resources import Resources, in_batches
from lgd.distillation.selection import CandidateScores
from lgd.distillation.store import Candidate, SelectedImage, read_rows
from lgd.execution.units import Unit
from lgd.guidance.learnability import mean_loss
from lgd.rng import generator as rng
from lgd.storage.files import load_tensors, read_json, save_tensors

from .candidates import CandidateSource, CandidateSpec, Proposals, Propose, SamplingContext
from .coresets import class_order, class_units, order_units


def select_by(order: str, resources: Resources) -> list[SelectedImage]:
    """Return the i-th n images of each class's order, for increment i of n images per class; so none comes twice."""
    stages = resources.config.stages
    n, count = stages.images_per_increment, ordered_images(resources.config)
    end = resources.increment * n
    selected = []
    for label in resources.classes:
        selected += real_images(resources, label, class_order(resources, order, label, count)[end - n : end])
    return selected


def ordered_images(recipe: Recipe) -> int:
    """Return the number of images per class that a method by an order takes."""
    return recipe.stages.increments * recipe.stages.images_per_increment


def real_images(resources: Resources, label: int, positions: Tensor) -> list[SelectedImage]:
    """Return images by their positions in their class, without latents; stages.py adds those where they are needed."""
    train = resources.splits.train
    sources = train.indices_of(label)[positions]
    return [
        SelectedImage(label, slot, image, None, (Candidate(None),), source=source)
        for slot, (image, source) in enumerate(zip(train.pixels(sources), sources.tolist(), strict=True))
    ]


def select_full(resources: Resources) -> list[SelectedImage]:
    """Select every real image of the classes."""
    held = {label: torch.arange(len(resources.splits.train.indices_of(label))) for label in resources.classes}
    return [image for label, positions in held.items() for image in real_images(resources, label, positions)]


@dataclass(frozen=True)
class Dealt:
    """The real images that are dealt to the slots of a unit, with their measurements."""

    members: Tensor
    """positions in the training set, (N,)"""
    scores: CandidateScores
    """each (N,)"""
    rows: dict[tuple[int, int], Tensor]
    """by slot and label, which of the N belong to it"""


def deal_and_measure(context: SamplingContext) -> Dealt:
    """Deal real images to the slots of a unit, and measure the learners' losses of them all in batches.

    The reference has measured every image once before (`measure_class`).
    """
    resources, real = context.resources, context.config.real
    measured = {label: load_tensors(losses_file(resources.growth, real, label)) for label in resources.classes}
    dealt = {label: deal(resources, real, label, measured[label]["members"]) for label in resources.classes}
    slots = range(context.config.stages.images_per_increment)
    places = {(slot, label): dealt[label][slot] for slot in slots for label in resources.classes}
    members, reference_loss, valid = (
        torch.cat([measured[label][name][rows] for (_, label), rows in places.items()])
        for name in ("members", "loss", "valid")
    )
    labels = torch.cat([torch.full_like(rows, label) for (_, label), rows in places.items()])
    learner_loss = learner_losses(resources, members, labels)
    score = learner_loss - context.config.guidance.omega * reference_loss
    rows = torch.arange(len(members)).split([len(rows) for rows in places.values()])
    scores = CandidateScores(score, learner_loss, reference_loss, valid)
    return Dealt(members, scores, dict(zip(places, rows, strict=True)))


def begin_real(context: SamplingContext) -> Propose:
    """Measure the real candidates of a unit; returns those of some slots."""
    dealt, kappa = deal_and_measure(context), context.config.real.candidates
    pixels = context.resources.splits.train.pixels

    def propose(slots: Sequence[int]) -> Proposals:
        keys = [(slot, label) for slot in slots for label in context.resources.classes]
        rows = [padded(dealt.rows[key], kappa) for key in keys]
        specs = [
            CandidateSpec(label, slot, None, member)
            for (slot, label), own in zip(keys, rows, strict=True)
            for member in dealt.members[own].tolist()
        ]
        members, scores = dealt.members[torch.cat(rows)], dealt.scores.of(torch.cat(rows))
        return Proposals(specs, scores, lambda index: pixels(members[index, None])[0], lambda index: None)

    return propose


def padded(rows: Tensor, count: int) -> Tensor:
    """Repeat the first of some rows, so that there are `count`; a repetition never wins, as the first wins a tie."""
    return torch.cat([rows, rows[:1].expand(count - len(rows))])


def deal(resources: Resources, real: RealConfig, label: int, members: Tensor) -> list[Tensor]:
    """Deal the images of a class that are not in the set yet to the slots of an increment, in turn.

    members: positions in the training set of the images that the reference has measured, (N,). Returns rows of
    `members` for each slot, at most `real.candidates` and at least one; without repetition.
    """
    n = resources.config.stages.images_per_increment
    if real.order == "random":
        name = resources.splits.train.class_names[label]
        draw = rng(resources.config.seed, "real", resources.increment, name)
        rows = torch.randperm(len(members), generator=draw)
    else:
        rows = class_order(resources, real.order, label, candidate_count(resources.growth.later))
    free = rows[~torch.isin(members[rows], kept_images(resources, label))][: n * real.candidates]
    return [free[slot::n] for slot in range(n)]


def kept_images(resources: Resources, label: int) -> Tensor:
    """Return the positions in the training set of a class's real images in earlier increments, (M,)."""
    group = resources.classes.start // resources.config.stages.classes_per_unit
    paths = [resources.growth.run.group(increment, group) for increment in range(1, resources.increment)]
    rows = [row for path in paths for row in read_rows(path, read_json(path))]
    name = resources.growth.class_names[label]
    return torch.tensor([r.source for r in rows if r.class_name == name and r.source is not None], dtype=torch.long)


def learner_losses(resources: Resources, members: Tensor, labels: Tensor) -> Tensor:
    """Return the learners' mean loss on real images at `members` (N,) with `labels` (N,), in batches, on the CPU."""
    train, device = resources.splits.train, resources.device

    @torch.no_grad()
    def measure(part: slice) -> Tensor:
        images = to_float(train.pixels(members[part]).to(device))
        return mean_loss(images, labels[part].to(device), resources.learners)

    return in_batches(measure, len(members), resources).cpu()


def candidate_count(recipe: Recipe) -> int:
    """Return how many images of a class's order a run may need: those that it keeps, and candidates beside them."""
    stages, real = recipe.stages, recipe.real
    needed = stages.images_per_increment * (stages.increments - 1 + real.candidates)
    return min(real.pool, needed) if real.pool else needed


def measured_pool(real: RealConfig) -> int:
    """Return how many images of a class the reference measures, chosen at random; 0: all. Other orders need all."""
    return real.pool if real.order == "random" else 0


def losses_file(growth: Growth, real: RealConfig, label: int) -> Path:
    return growth.assets.real_folder / f"losses-{measured_pool(real)}" / f"{label:04d}.safetensors"


def candidate_units(growth: Growth, recipe: Recipe) -> list[Unit]:
    """Return the units that measure, and where it is asked for order, the real images of each class."""
    file = partial(losses_file, growth, recipe.real)
    measures = class_units(growth, "losses", measure_class, (recipe.real,), file)
    return measures + order_units(growth, recipe.real.order, candidate_count(recipe))


def measure_class(growth: Growth, label: int, done: Path, real: RealConfig) -> None:
    """Write the reference's loss and validity of a class's images, or of `real.pool` random ones."""
    resources = Resources(growth, 1, range(label, label + 1))
    train = resources.splits.train
    members = train.indices_of(label)
    if measured_pool(real):
        draw = rng("real pool", train.class_names[label])
        members = members[torch.randperm(len(members), generator=draw)[: real.pool]].sort().values
        logits = predict(resources.reference, train.subset(members))
    else:
        logits = resources.real_outputs(label)[1]
    labels = torch.full_like(members, label)
    loss = F.cross_entropy(logits, labels, reduction="none")
    save_tensors(done, {"members": members, "loss": loss, "valid": logits.argmax(1) == label})


REAL = CandidateSource(begin_real, lambda recipe: recipe.real.candidates, generated=False, units=candidate_units)
