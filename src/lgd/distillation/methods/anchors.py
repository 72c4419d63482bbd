"""Anchors: real images from whose noised latents candidates are sampled (SDEdit, Meng et al., 2022).

ANCHORS has the choices of `stages.anchor`. An order's anchors are encoded once per class and kept with the assets:
ASSETS/real/anchors-herding-0-130-float32/0003.safetensors
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lgd.data.imageset import to_float
from lgd.distillation.recipe import Growth, Recipe
from lgd.distillation.resources import Resources
from lgd.distillation.selection import ranked, rule_named
from lgd.errors import UserError
from lgd.execution.units import Unit
from lgd.storage.files import load_tensors, save_tensors

from .candidates import Anchors, SamplingContext
from .coresets import ORDERS, class_units
from .real import candidate_units, deal_and_measure

ENCODED_AT_ONCE = 32


@dataclass(frozen=True)
class Anchoring:
    """A way to choose anchors."""

    choose: Callable[[SamplingContext], Anchors]
    """chooses the anchors of one unit"""
    units: Callable[[Growth, Recipe], list[Unit]]
    """returns the units that must have been run before"""


def ordered(order: str) -> Anchoring:
    """Return the choice of a class's real images in one order over all increments and candidates."""
    return Anchoring(lambda context: anchors_in_order(context, order), lambda growth, _: encoding_units(growth, order))


def anchors_in_order(context: SamplingContext, order: str) -> Anchors:
    """Take the next images of each class's order: of an increment, first one for every slot, then the second ones.

    A class with fewer images begins anew. Errors: UserError naming latents of another size.
    """
    resources, kappa = context.resources, context.config.stages.candidates
    n = context.config.stages.images_per_increment
    growth, earlier = resources.growth, resources.increment - 1
    before = anchor_count(growth.seed, growth.later, earlier) if earlier else 0
    anchors = Anchors()
    for label in resources.classes:
        path = anchors_file(resources.growth, order, label)
        kept = load_tensors(path, ["members", "latents"])
        members, latents = kept["members"].tolist(), kept["latents"]
        if latents.shape[1:] != resources.generator.latent_shape:
            raise UserError(
                f"{path}: anchors of {list(latents.shape[1:])}, but the generator's latents are"
                f" {list(resources.generator.latent_shape)}; delete {path.parent} and run the same command"
            )
        for slot in range(n):
            places = [(before + k * n + slot) % len(members) for k in range(kappa)]
            anchors.positions[label, slot] = [members[place] for place in places]
            anchors.latents.update((members[place], latents[place]) for place in places)
    return anchors


def learnable_anchors(context: SamplingContext) -> Anchors:
    """Take the real candidates of each slot that the selection rule chooses first."""
    resources, stages = context.resources, context.config.stages
    rule, dealt, anchors = rule_named(stages.selection), deal_and_measure(context), Anchors()
    for (slot, label), rows in dealt.rows.items():
        best = ranked(dealt.scores.of(rows), min(stages.candidates, len(rows)), rule, stages)
        positions = dealt.members[rows[best]]
        anchors.positions[label, slot] = positions.tolist()
        anchors.latents.update(zip(positions.tolist(), encode(resources, positions), strict=True))
    return anchors


def encode(resources: Resources, positions: Tensor) -> Tensor:
    """Encode training images at `positions` (N,) to latents (N, C, H, W) on the CPU, in batches of fixed size."""
    autoencoder, pixels = resources.generator.autoencoder, resources.splits.train.pixels
    parts = [to_float(pixels(part)).to(resources.device) for part in positions.split(ENCODED_AT_ONCE)]
    with torch.no_grad():
        return torch.cat([autoencoder.encode(part).cpu() for part in parts])


def anchor_count(seed: Recipe, later: Recipe, increments: int) -> int:
    """Return the number of anchors per class of the first increments of a run: one for every candidate."""
    slots = later.stages.images_per_increment
    return slots * (seed.stages.candidates + (increments - 1) * later.stages.candidates)


def anchors_of(growth: Growth) -> int:
    """Return the number of anchors per class of a whole run."""
    return anchor_count(growth.seed, growth.later, growth.later.stages.increments)


def anchors_file(growth: Growth, order: str, label: int) -> Path:
    seed = growth.later.seed if ORDERS[order].seeded else 0
    name = f"anchors-{order}-{seed}-{anchors_of(growth)}-{growth.later.sampling.precision}"
    return growth.assets.real_folder / name / f"{label:04d}.safetensors"


def encoding_units(growth: Growth, order: str) -> list[Unit]:
    """Return one unit per class that chooses its anchors in an order and encodes them."""
    return class_units(growth, "anchors", encode_anchors, (order,), partial(anchors_file, growth, order))


def encode_anchors(growth: Growth, label: int, done: Path, order: str) -> None:
    """Choose a class's anchors in an order and write their positions in the training set and their latents."""
    resources = Resources(growth, 1, range(label, label + 1))
    held = resources.splits.train.indices_of(label)
    members = held[ORDERS[order].first(resources, label, min(anchors_of(growth), len(held)))]
    save_tensors(done, {"members": members, "latents": encode(resources, members)})


ANCHORS = {
    "none": Anchoring(lambda context: Anchors(), lambda growth, recipe: []),
    "random": ordered("random"),
    "herding": ordered("herding"),
    "k-means": ordered("k-means"),
    "learnability": Anchoring(learnable_anchors, candidate_units),
}
