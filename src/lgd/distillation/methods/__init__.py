"""How the images of one increment come about: METHODS, by the names that `--method` takes, and plug-ins.

A package adds a method by an entry point of the group `lgd.methods` that names an `lgd.Method`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Any

from lgd.config import Config, with_values
from lgd.distillation.judge import make_independent
from lgd.distillation.layout import Run
from lgd.distillation.recipe import Assets, Growth, Recipe, recipe_of
from lgd.distillation.selection import chooses_alone
from lgd.distillation.surrogate import make_surrogate
from lgd.errors import UserError, nearest
from lgd.execution.units import Unit

from .base import Asset, Method
from .candidates import CandidateSource
from .igd import influence_guidance, sample_igd
from .mgd3 import MGD3
from .real import REAL, select_by, select_full
from .sampled import sample_lgd, sample_unguided
from .sampling import SAMPLED

PLUGINS = "lgd.methods"
"""group of entry points; each names a `Method` of an installed package, which never replaces one of ours"""

SURROGATE = Asset(
    "surrogate",
    "checkpoints.json",
    made_from=lambda assets: assets.surrogate,
    make=make_surrogate,
    classifier=lambda assets: assets.surrogate.classifier,
)
INDEPENDENT = Asset(
    "independent",
    "network.safetensors",
    made_from=lambda assets: assets.judge,
    make=make_independent,
    classifier=lambda assets: assets.judge,
)


LGD = Method(sample_lgd, "learnability-guided diffusion", needs_learner=True, guidance=lambda recipe: recipe.guidance)


def competing(sources: tuple[CandidateSource, ...], summary: str, **rest: Any) -> Method:
    """Return a method whose candidates of several sources compete by the selection rule, as those of LGD do."""
    return Method(partial(sample_lgd, sources=sources), summary, needs_learner=True, sources=sources, **rest)


def ordered(order: str, summary: str) -> Method:
    """Return a method that takes the real images of each class in an order."""
    return Method(partial(select_by, order), summary, sources=(), order=order, one_real_image_each=True)


LGD_REAL = competing((REAL,), "real images by learnability", one_real_image_each=True, seed_field="real.seed_method")


STEPS = 50
"""to which the step indices of methods refer: another number of steps has the same noise at the same share"""


def at_step(index: int, config: Config) -> int:
    """Return the step that has the noise of a step of `STEPS`."""
    return index * config.sampling.steps // STEPS


def lgd_without(summary: str, fields: Mapping[str, object]) -> Method:
    """Return an ablation of LGD: the method with other values of some fields."""
    return replace(LGD, summary=f"lgd, {summary}", fields=fields)


METHODS = {
    "lgd": LGD,
    "lgd-omega0": lgd_without("without the reference in the score", {"guidance.omega": 0.0}),
    "lgd-kappa1": lgd_without("without selection", {"stages.candidates": 1, "stages.coverage": "none"}),
    "lgd-no-deviation": lgd_without("without deviation guidance", {"guidance.deviation": 0.0}),
    "lgd-selection-only": lgd_without(
        "selection without guidance", {"guidance.strength": 0.0, "guidance.deviation": 0.0}
    ),
    "lgd-no-coverage": lgd_without("without coverage of the class", {"stages.coverage": "none"}),
    "lgd-fixed-schedule": lgd_without("with the fixed number of increments", {"stages.schedule": "fixed"}),
    "lgd-fixed-strength": lgd_without("with the default strength of guidance", {"guidance.strength": 0.3}),
    "lgd-anchored": replace(
        LGD,
        summary="lgd that starts from the real images that selection chooses first",
        fields={"stages.anchor": "learnability", "stages.anchor_step": partial(at_step, 15)},
    ),
    "lgd-anchored-easiest": replace(
        LGD,
        summary="lgd-anchored, nearer to the easiest of the images not yet learned; its seed set starts from noise",
        fields={
            "stages.anchor": "learnability",
            "stages.anchor_step": partial(at_step, 10),
            "stages.seed_anchor": "none",
            "stages.selection": "easiest-unlearned",
            "guidance.window": lambda config: (at_step(3, config), at_step(45, config)),
        },
    ),
    "dit": Method(sample_unguided, "unguided diffusion"),
    "dit-easiest": Method(
        sample_unguided,
        "unguided diffusion, of a slot's candidates the one of least reference loss",
        fields={"stages.selection": "easiest"},
    ),
    "dit-herded": Method(
        sample_unguided,
        "unguided diffusion, of a class's candidates of less reference loss those that keep the mean of the features",
        fields={
            "stages.selection": "easiest",
            "stages.coverage": "herding",
            "stages.coverage_network": "reference",
        },
    ),
    "igd": Method(
        sample_igd,
        "diffusion guided by influence",
        assets=(SURROGATE,),
        guidance=influence_guidance,
        section="influence",
    ),
    "mgd3": MGD3,
    "lgd-real": LGD_REAL,
    "lgd-real-easiest": replace(
        LGD_REAL,
        summary="lgd-real, the easiest of the images not yet learned",
        fields={"stages.selection": "easiest-unlearned"},
    ),
    "hybrid": competing(
        (SAMPLED, REAL), "real and sampled candidates compete", guidance=LGD.guidance, one_real_image_each=True
    ),
    "random": replace(ordered("random", "real images chosen at random"), needs_reference=False),
    "herding": ordered("herding", "real images by herding: they keep the mean of the features"),
    "k-center": ordered("k-center", "real images by k-center: they lie far apart in the features"),
    "full": Method(
        select_full,
        "the whole real set: a ceiling",
        sources=(),
        needs_reference=False,
        fixed_size=True,
        fields={"stages.increments": 1, "evaluation.redundancy_seeds": 0},
    ),
}


def method_named(name: str) -> Method:
    """Return the method of this name, ours or an installed package's. Errors: UserError that lists the known ones."""
    if name in METHODS:
        return METHODS[name]
    points = {point.name: point for point in entry_points(group=PLUGINS)}
    if name not in points:
        raise UserError(f"unknown method {name!r}{nearest(name, {*METHODS, *points})}")
    return plugin(points[name])


@cache
def plugin(point: EntryPoint) -> Method:
    """Import the method of an installed package. Errors: UserError naming the package and what it lacks."""
    where = f"method {point.name!r} of {point.dist.name if point.dist else 'a package'} ({point.value})"
    try:
        method = point.load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"{where}: cannot be imported: {error}") from None
    if not isinstance(method, Method):
        raise UserError(f"{where}: a {type(method).__name__}; expected an lgd.Method")
    return method


def with_method(config: Config, name: str) -> Config:
    """Return the configuration of a run of this method, with the fields that the method sets itself.

    Errors: UserError for an unknown method.
    """
    return with_values(replace(config, method=name), values_set(config, name))


def values_set(config: Config, name: str) -> dict[str, Any]:
    """Return the fields that a method sets in a configuration. Of those that may be open, it sets the open ones."""
    fields = {
        field: value
        for field, value in method_named(name).fields.items()
        if not may_be_open(field) or attrgetter(field)(config) is None
    }
    return {field: value(config) if callable(value) else value for field, value in fields.items()}


def may_be_open(field: str) -> bool:
    """Return whether a field, by its dotted name, is None unless somebody chooses a value."""
    return attrgetter(field)(Config()) is None


def seed_method(config: Config) -> str:
    """Return the method of the first increment: a method that needs a learner has nothing to learn from yet."""
    method = method_named(config.method)
    return attrgetter(method.seed_field)(config) if method.needs_learner else config.method


def seed_config(config: Config) -> Config:
    """Return the configuration of the seed set: a set of one increment, made by the seed method."""
    own = config.stages
    anchor = own.anchor if own.seed_anchor == "same" else own.seed_anchor
    stages = replace(own, increments=1, anchor=anchor, candidates=own.seed_candidates or own.candidates)
    evaluation = replace(config.evaluation, ipc=())
    return with_method(replace(config, stages=stages, evaluation=evaluation), seed_method(config))


def growth_of(config: Config, run: Run, assets: Assets, class_order: tuple[str, ...]) -> Growth:
    """Return how the set of a configuration grows: its seed set by the seed method, the rest by its own."""
    return Growth(run, assets, *recipes_of(config), config.learner, class_order)


def recipes_of(config: Config) -> tuple[Recipe, Recipe]:
    """Return the settings of the first increment and those of the others."""
    first = config if seed_method(config) == config.method else seed_config(config)
    return recipe_for(first), recipe_for(config)


def recipe_for(config: Config) -> Recipe:
    """Return the settings that a method makes images with: one candidate a slot without learner or choice."""
    recipe, stages = recipe_of(config), config.stages
    if method_named(config.method).needs_learner:
        return recipe
    candidates = stages.candidates if chooses_alone(stages) else 1
    anchor = "herding" if stages.anchor == "learnability" else stages.anchor
    return replace(recipe, stages=replace(recipe.stages, candidates=candidates, anchor=anchor))


def methods_used(config: Config) -> list[Method]:
    """Return the method of a run and that of its seed set, each with all assets that it needs as configured."""
    recipes = {recipe.method: recipe for recipe in recipes_of(config)}
    return [
        replace(method, assets=(*method.assets, INDEPENDENT)) if needs_independent(recipe) else method
        for recipe in recipes.values()
        for method in [method_named(recipe.method)]
    ]


def is_calibrated(recipe: Recipe) -> bool:
    """Return whether a method is guided with a strength that is calibrated."""
    guidance = method_named(recipe.method).guidance
    return guidance is not None and guidance(recipe).strength == "auto"


def needs_independent(recipe: Recipe) -> bool:
    """Return whether calibration or coverage asks the independent network."""
    stages = recipe.stages
    covered = stages.coverage != "none" and stages.coverage_network == "independent"
    return (covered and method_named(recipe.method).needs_generator) or is_calibrated(recipe)


def real_image_units(growth: Growth) -> list[Unit]:
    """Return the units that measure or order the real images for a run's method and for that of its seed set.

    Those of a class follow each other, as one pass of the reference serves them all.
    """
    recipes = {recipe.method: recipe for recipe in (growth.seed, growth.later)}.values()
    units = [unit for recipe in recipes for unit in method_named(recipe.method).units(growth, recipe)]
    return sorted({unit.done: unit for unit in units}.values(), key=lambda unit: unit.done.name)


def sections_used(used: Sequence[Method]) -> set[str]:
    """Return the names of the configuration's sections that runs of these methods read."""
    own = {method.section for method in METHODS.values()}
    read = {
        "generator": any(method.needs_generator for method in used),
        "sampling": any(method.needs_generator for method in used),
        "learner": any(method.needs_learner for method in used),
        "guidance": any(method.guidance or method.needs_learner for method in used),
        "real": any(method.needs_learner for method in used),
        **{section: any(method.section == section for method in used) for section in own if section},
    }
    return {
        field.name for field in fields(Config) if is_dataclass(field.default_factory) and read.get(field.name, True)
    }
