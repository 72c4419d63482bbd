"""Checks before any work that a method can make a set of a configuration."""

from lgd.config import Config
from lgd.data.imageset import ImageSet
from lgd.distillation.recipe import first_step
from lgd.distillation.selection import rule_named
from lgd.errors import UserError
from lgd.guidance.learnability import guided_steps
from lgd.progress import log

from . import METHODS, Method, method_named, recipe_for, recipes_of, seed_config, seed_method, with_method
from .anchors import anchor_count
from .real import REAL


def check_method(config: Config, train: ImageSet) -> None:
    """Check before any work that the method and the seed method can make the set.

    Errors: UserError for an unknown method or selection rule; for a seed method that needs a seed set itself or ignores
    the number of images; for settings that a method refuses; and for a class with fewer real images than it needs.
    """
    config = with_method(config, config.method)
    rule_named(config.stages.selection)
    check_budget(config, train)
    method = method_named(config.method)
    method.check(recipe_for(config))
    if method.needs_learner:
        name = seed_method(config)
        if not makes_seed_sets(method_named(name), method):
            known = [name for name, other in METHODS.items() if makes_seed_sets(other, method)]
            raise UserError(f"{method.seed_field}: {name!r} cannot make a seed set; use one of {', '.join(known)}")
        check_budget(seed_config(config), train)
        seed = recipe_for(seed_config(config))
        method_named(name).check(seed)
        if config.stages.seed_candidates not in (None, seed.stages.candidates):
            log.warning(f"stages.seed_candidates: not used, because {name} makes one candidate a slot; try dit-herded")
    check_anchors(config, train)
    for name in (config.method, seed_method(config)) if config.synthetic else ():
        sources = method_named(name).sources
        if not (sources and all(source.generated for source in sources)):
            raise UserError(f"synthetic: a set by {name!r} holds real images; choose another method")


def makes_seed_sets(seed: Method, of: Method) -> bool:
    """Return whether a method makes seed sets of another: without a learner, in any size, with no other generator."""
    return not (seed.needs_learner or seed.fixed_size) and (of.needs_generator or not seed.needs_generator)


def check_budget(config: Config, train: ImageSet) -> None:
    """Check that no class has fewer real images than the method needs. Errors: UserError naming the smallest class."""
    if not method_named(config.method).one_real_image_each:
        return
    ipc = config.stages.increments * config.stages.images_per_increment
    size, name = smallest_class(train)
    if size < ipc:
        raise UserError(
            f"{config.method}: class {name!r} has {size} real images, fewer than the {ipc} asked for;"
            " lower the number of images per class (--per-class)"
        )
    if REAL not in method_named(config.method).sources:
        return
    if 0 < config.real.pool < ipc:
        raise UserError(f"real.pool: {config.real.pool} images are fewer than the {ipc} per class asked for; raise it")
    n, kappa = config.stages.images_per_increment, config.real.candidates
    left = min(size, config.real.pool or size) - ipc + n
    if left < n * kappa:
        log.info(
            f"{config.method}: class {name!r} has {left} real images left for the last increment, fewer than the"
            f" {n * kappa} candidates asked for; all of them compete"
        )


def check_anchors(config: Config, train: ImageSet) -> None:
    """Warn when anchors leave no guided step, and tell when there are fewer than a run uses.

    Errors: UserError naming a class with too few images to anchor every slot.
    """
    method, recipe, anchor = method_named(config.method), recipe_for(config), config.stages.anchor
    if anchor == "none" or not method.needs_generator:
        return
    guidance, first = method.guidance(recipe) if method.guidance else None, first_step(recipe)
    if guidance and guidance.strength and not guided_steps(guidance, first):
        log.warning(
            f"{config.method}: no step is guided, because sampling starts from anchors at step {first} and the window"
            f" of guidance begins at {guidance.window[0]}; lower guidance.window or raise stages.anchor_step"
        )
    size, name = smallest_class(train)
    slots, asked = recipe.stages.images_per_increment, anchor_count(*recipes_of(config), recipe.stages.increments)
    if anchor == "learnability" and min(size, config.real.pool or size) < slots:
        raise UserError(f"stages.anchor: class {name!r} has fewer real images than the {slots} slots")
    if size < asked:
        log.info(
            f"{config.method}: class {name!r} has {size} real images, fewer than the {asked} anchors asked for; all of"
            " them serve, in turn"
        )


def smallest_class(train: ImageSet) -> tuple[int, str]:
    """Return the number of images of the smallest class, and its name."""
    return min((len(train.indices_of(label)), name) for label, name in enumerate(train.class_names))
