"""The registry of methods: METHODS, by the names that `--method` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lgd.config import Config, with_values
from lgd.data.imageset import ImageSet
from lgd.distillation.independent import make_independent
from lgd.distillation.layout import Run
from lgd.distillation.recipe import Assets, Growth, Recipe, recipe_of
from lgd.distillation.selection import rule_named
from lgd.distillation.surrogate import make_surrogate
from lgd.errors import UserError, nearest

from .base import Asset, Method
from .coresets import select_full, select_herding, select_k_center, select_random
from .igd import influence_guidance, sample_igd
from .mgd3 import sample_mgd3
from .sampled import sample_lgd, sample_unguided

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
    "dit": Method(sample_unguided, "unguided diffusion"),
    "igd": Method(sample_igd, "diffusion guided by influence", assets=(SURROGATE,), guidance=influence_guidance),
    "mgd3": Method(sample_mgd3, "diffusion guided to the modes of each class", one_real_image_each=True),
    "random": Method(select_random, "real images chosen at random", needs_generator=False, one_real_image_each=True),
    "herding": Method(
        select_herding,
        "real images by herding: they keep the mean of the features",
        needs_generator=False,
        one_real_image_each=True,
    ),
    "k-center": Method(
        select_k_center,
        "real images by k-center: they lie far apart in the features",
        needs_generator=False,
        one_real_image_each=True,
    ),
    "full": Method(
        select_full,
        "the whole real set: a ceiling",
        needs_generator=False,
        fixed_size=True,
        fields={"stages.increments": 1, "evaluation.redundancy_seeds": 0},
    ),
}


def method_named(name: str) -> Method:
    """Return the method of this name. Errors: UserError that lists the known ones."""
    if name not in METHODS:
        raise UserError(f"unknown method {name!r}{nearest(name, METHODS)}")
    return METHODS[name]


def with_method(config: Config, name: str) -> Config:
    """Return the configuration of a run of this method, with the fields that the method sets itself.

    Errors: UserError for an unknown method.
    """
    return with_values(replace(config, method=name), method_named(name).fields)


def seed_method(config: Config) -> str:
    """Return the method of the first increment: a method that needs a learner has nothing to learn from yet."""
    return config.stages.seed_method if method_named(config.method).needs_learner else config.method


def seed_config(config: Config) -> Config:
    """Return the configuration of the seed set: a set of one increment, made by the seed method."""
    single = replace(config, stages=replace(config.stages, increments=1))
    return with_method(single, config.stages.seed_method)


def growth_of(config: Config, run: Run, assets: Assets, class_names: tuple[str, ...]) -> Growth:
    """Return how the set of a configuration grows: its seed set by the seed method, the rest by its own."""
    return Growth(run, assets, *recipes_of(config), config.learner, class_names)


def recipes_of(config: Config) -> tuple[Recipe, Recipe]:
    """Return the settings of the first increment and those of the others."""
    first = config if seed_method(config) == config.method else seed_config(config)
    return recipe_of(first), recipe_of(config)


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
    covered = recipe.stages.coverage != "none" and method_named(recipe.method).needs_generator
    return covered or is_calibrated(recipe)


def check_method(config: Config, train: ImageSet) -> None:
    """Check before any work that the method and the seed method can make the set.

    Errors: UserError for an unknown method or selection rule; for a seed method that needs a seed set itself or ignores
    the number of images; and, naming the class, for a class with fewer real images than the method needs.
    """
    config = with_method(config, config.method)
    rule_named(config.stages.selection)
    check_budget(config, train)
    if method_named(config.method).needs_learner:
        seed = method_named(config.stages.seed_method)
        if seed.needs_learner or seed.fixed_size:
            known = [name for name, method in METHODS.items() if not (method.needs_learner or method.fixed_size)]
            name = config.stages.seed_method
            raise UserError(f"stages.seed_method: {name!r} cannot make a seed set; use one of {', '.join(known)}")
        check_budget(seed_config(config), train)


def check_budget(config: Config, train: ImageSet) -> None:
    """Check that no class has fewer real images than the method needs. Errors: UserError naming the smallest class."""
    if not method_named(config.method).one_real_image_each:
        return
    ipc = config.stages.increments * config.stages.images_per_increment
    size, name = min((len(train.indices_of(label)), name) for label, name in enumerate(train.class_names))
    if size < ipc:
        raise UserError(
            f"{config.method}: class {name!r} has {size} real images, fewer than the {ipc} asked for;"
            " lower stages.increments or stages.images_per_increment"
        )
