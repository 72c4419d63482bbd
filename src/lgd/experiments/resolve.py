"""Resolve a configuration: check it once, open its images, and hand out the pieces that later code takes.

Only what the command and its methods use is checked: `random` needs no generator, and `evaluate` no learner.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import torch

from lgd.classifiers.architectures import new_classifier
from lgd.classifiers.feature_map import map_shape
from lgd.config import ClassifierConfig, Config, check, to_dict, with_values
from lgd.data.imageset import ImageSet, Splits
from lgd.data.splits import cached_splits
from lgd.diffusion.families.dit import DIT
from lgd.diffusion.folder import check_null, source_family
from lgd.diffusion.starts import check_decoder, check_generator
from lgd.distillation.layout import Run
from lgd.distillation.methods import SURROGATE, growth_of, methods_used, sections_used, values_set, with_method
from lgd.distillation.methods.checks import check_method
from lgd.distillation.recipe import Assets, Growth, assets_of
from lgd.errors import UserError
from lgd.evaluation.cells import Evaluation
from lgd.evaluation.protocols import training_for
from lgd.evaluation.schedule import evaluators
from lgd.evaluation.soft_labels import Teacher, load_teacher, teacher_of
from lgd.execution.hardware import check_device, resolve_device, warn_of_emulation, worker_count
from lgd.execution.ray import check_cluster
from lgd.progress import log
from lgd.rng import seeded_initialisation

from .auto import check_budget, load_config
from .auto_method import SYNTHETIC, settled
from .reference import foreign_reference

ALIGNED = 0.5  # weight of the alignment that "auto" stands for, where a generator can be aligned
LEAST_JUDGED = 2  # fewest training images of a class that a judge can be trained on

Check = Callable[[Config, Splits], None]
"""Raises a UserError for a part of the configuration that does not fit the images."""


@dataclass(frozen=True)
class Experiment:
    """A checked configuration with its images. `config` is what a run records; the methods below give the pieces."""

    config: Config
    splits: Splits
    device: str

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.splits.train.class_names

    def with_method(self, name: str, seed: int) -> Self:
        """Return the experiment of one run: with the fields that the method decides, and the run's seed."""
        return replace(self, config=with_method(replace(self.config, seed=seed), name))

    def assets(self, root: Path) -> Assets:
        return assets_of(self.config, root, self.device)

    def growth(self, run: Run, assets: Assets) -> Growth:
        return growth_of(self.config, run, assets, self.splits.class_order)

    def evaluation(self, assets: Assets | None) -> Evaluation:
        """Return how sets are evaluated; the reference in `assets` is the default teacher. Errors: UserError."""
        config = self.config
        reference = Teacher(assets.reference_file, config.reference) if assets else None
        teacher = teacher_of(config.evaluation, reference)
        return Evaluation(config.dataset, config.evaluation, config.stages, config.seed, self.device, teacher)

    def record(self, *names: str) -> dict[str, Any]:
        """Return parts of the configuration, or all of it, as plain data for a JSON file."""
        values = to_dict(self.config)
        return {name: values[name] for name in names} if names else values


def resolve(
    config: Config | str,
    methods: Sequence[str] | None = None,
    checks: Sequence[Check] = (),
) -> Experiment:
    """Read and check a configuration, and open its images, before anything is written.

    config: a configuration, or the name of a preset or TOML file. methods: those of the command, whose needs are
    checked; None: the configuration's own; empty: the command makes no images. Errors: UserError.
    """
    config = load_config(config) if isinstance(config, str) else check(config)
    if methods is None:
        config = settled(config)
        methods = SYNTHETIC if config.method == "auto" else [config.method]
    check_budget(config)
    check_device(config.compute.device)
    check_importable(config)
    if config.compute.engine == "ray":
        check_cluster(config.compute.address)
    for name in methods:
        tell_overruled(config, name)
    splits = cached_splits(config.dataset)
    config = with_alignment(config, splits.train)
    configs = [with_method(config, name) for name in methods]
    for single in configs:
        check_method(single, splits.train)
    if methods and config.generator.source and not any(samples(single) for single in configs):
        log.info(f"generator.source: not used, because {' and '.join(methods)} selects real images")
    for part in (*checks, *(part for single in configs for part in checks_of(single))):
        part(config, splits)
    device, values = resolve_device(config.compute.device), to_dict(config)
    sections = sections_used([method for single in configs for method in methods_used(single)])
    warn_of_emulation(device, {name: values[name] for name in (sections if configs else {"evaluation"})})
    return Experiment(config, splits, device)


def tell_overruled(config: Config, name: str) -> None:
    """Tell which values that somebody chose a method replaces by its own."""
    for field, value in values_set(config, name).items():
        chosen, default = attrgetter(field)(config), attrgetter(field)(Config())
        if chosen not in (default, value):
            log.info(f"{field}: {name} sets {value}, not {chosen}")


def samples(config: Config) -> bool:
    return any(method.needs_generator for method in methods_used(config))


def checks_of(config: Config) -> list[Check]:
    used = methods_used(config)
    checks: list[Check] = [has_reference, has_judge, has_evaluation]
    if samples(config):
        checks += [has_generator]
    if any(method.needs_learner for method in used):
        checks += [has_learner]
    if any(SURROGATE in method.assets for method in used):
        checks += [lambda config, splits: probe(config.influence.surrogate.classifier, splits.train)]
    return checks


def has_generator(config: Config, splits: Splits) -> None:
    """Check generator and small decoder. Errors: UserError for one that cannot be loaded, guided or does not fit."""
    check_generator(config.generator, splits.train)
    check_alignment(config, splits.train)
    if config.generator.source and config.generator.tune == "none":
        check_null(config.generator.source, config.sampling.classifier_free_scale)
    check_decoder(config.guidance.decoder, config.generator, splits.train.shape)


def with_alignment(config: Config, train: ImageSet) -> Config:
    """Return the configuration with the weight that "auto" of generator.align stands for."""
    if config.generator.align != "auto":
        return config
    try:
        map_shape(config.reference, train.shape, len(train.class_names))
    except UserError:  # a network without a map, or one that `has_reference` refuses
        weight = 0.0
    else:
        weight = 0.0 if config.generator.source else ALIGNED
    return with_values(config, {"generator.align": weight})


def check_alignment(config: Config, train: ImageSet) -> None:
    """Check that a generator that is trained can be aligned with the reference, as configured. Errors: UserError."""
    own = config.generator
    if own.align and (not own.source or own.tune != "none"):
        if own.source and source_family(own.source).part != DIT.part:
            raise UserError(f"generator.align: only a DiT has tokens to align; {own.source} is none")
        map_shape(config.reference, train.shape, len(train.class_names))


def has_reference(config: Config, splits: Splits) -> None:
    """Check the reference. Errors: UserError, also for weights that do not fit or recognise little."""
    probe(config.reference, splits.train)
    if config.reference.weights:
        foreign_reference(config.reference, splits, resolve_device(config.compute.device))


def has_judge(config: Config, splits: Splits) -> None:
    """Check the judge. Errors: UserError for a network that does not fit, or naming a class of too few images."""
    probe(config.judge, splits.train)
    train = splits.train
    size, name = min((len(train.indices_of(label)), name) for label, name in enumerate(train.class_names))
    if size < LEAST_JUDGED:
        raise UserError(
            f"judge: class {name!r} has {size} training image{'s' * (size != 1)}, fewer than the {LEAST_JUDGED} that a"
            " network needs to judge a class; add images, or leave the class out (dataset.classes)"
        )


def has_learner(config: Config, splits: Splits) -> None:
    probe(config.learner, splits.train)


def has_evaluation(config: Config, splits: Splits) -> None:
    """Check the evaluation. Errors: UserError for an unknown protocol, classifier or teacher."""
    if not len(splits.test):
        raise UserError("dataset.test_fraction: 0 leaves no test images to evaluate on")
    training_for(config.evaluation, 1, splits.train.shape, len(splits.train.class_names))
    for name in evaluators(config.evaluation):
        probe(replace(config.evaluation.classifier, architecture=name), splits.train)
    if config.evaluation.teacher.weights and (teacher := teacher_of(config.evaluation, None)):
        load_teacher(teacher, splits.train, "cpu")


def check_importable(config: Config) -> None:
    """Check that worker processes can import the user's own networks. Errors: UserError for one of a notebook."""
    alone = config.compute.engine == "local" and worker_count(config.compute) == 1
    if not alone and (found := re.search(r'"(__main__:[^"]+)"', json.dumps(to_dict(config)))):
        raise UserError(
            f"{found[1]}: worker processes cannot import what a notebook or script defines; put it into a module, or"
            " set compute.workers to 1"
        )


def probe(config: ClassifierConfig, train: ImageSet) -> None:
    """Build a classifier once, so that a wrong name or depth is told before an hour of work. Errors: UserError."""
    ones = torch.ones(train.shape[0])
    with seeded_initialisation(0), torch.device("meta"):
        new_classifier(config, train.shape, len(train.class_names), ones, ones)
