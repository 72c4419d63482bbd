from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, settings

from lgd.config import Config, load_config, with_values
from lgd.progress import log

if TYPE_CHECKING:
    from lgd.distillation.resources import Resources

pytest_plugins = ["tests.machines"]

# One thread: a busy neighbour makes two much slower, and a fork must not inherit a team of OpenMP threads.
torch.set_num_threads(1)

# A busy neighbour must not fail a test: no deadlines.
settings.register_profile("lgd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lgd")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run tests that take minutes")
    parser.addoption("--run-gpu", action="store_true", help="also run tests that need a CUDA device")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what was not asked for, and give the tests that share a module's fixture to one worker: it is made once."""
    for mark, option in (("slow", "--run-slow"), ("gpu", "--run-gpu")):
        if not config.getoption(option):
            skip = pytest.mark.skip(reason=f"needs {option}")
            for item in items:
                if item.get_closest_marker(mark):  # not item.keywords, which has the names of folders, too
                    item.add_marker(skip)
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
        shared = any(definition.scope == "module" for definitions in fixtures for definition in definitions)
        if shared and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def pytest_collectstart() -> None:
    """Collect no garbage while modules are imported: their million objects stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, but never look through the objects of the imported modules."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep decoded images and the Hub's files out of the user's home directory."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr("lgd.experiments.auto.MINUTES", 0.0)  # nothing is measured unless a test asks for a budget
        yield folder


@pytest.fixture(autouse=True)
def messages() -> Iterator[None]:
    """Switch a command's messages off after its test."""
    yield
    log.handlers.clear()
    log.setLevel(logging.INFO)


@pytest.fixture(scope="session")
def tiny() -> Config:
    return tiny_config()


def tiny_config() -> Config:
    """Return a configuration of digits that runs within seconds, in this process."""
    return with_values(
        load_config("digits"),
        {
            "generator.blocks": 1,
            "generator.heads": 2,
            "generator.head_width": 8,
            "generator.steps": 6,
            "generator.batch_size": 16,
            "generator.threads": 1,
            "reference.width": 8,
            "reference.training.epochs": 2,
            "judge.training.epochs": 1,
            "judge.training.learning_rate": 0.01,
            "learner.width": 8,
            "learner.training.epochs": 3,
            "evaluation.classifier.width": 8,
            "evaluation.classifier.training.epochs": 2,
            "evaluation.seeds": 2,
            "evaluation.redundancy_seeds": 1,
            "sampling.steps": 8,
            "guidance.window": (1, 6),
            "stages.increments": 3,
            "stages.images_per_increment": 2,
            "stages.candidates": 2,
            "stages.learners": 1,
            "sampling.classifier_free_scale": 1.5,
            "compute.workers": 1,
        },
    )


@pytest.fixture(scope="session")
def finished(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a finished tiny run, which tests must not change."""
    from lgd import distill

    return distill(tiny, tmp_path_factory.mktemp("finished") / "run").root


def resources_of(config: Config, root: Path, increment: int, classes: range) -> Resources:
    """Return the resources with which the methods of a finished run in `root` sample."""
    from lgd.distillation.layout import Run
    from lgd.distillation.resources import Resources
    from lgd.experiments.resolve import resolve

    experiment = resolve(config)
    return Resources(experiment.growth(Run(root), experiment.assets(root)), increment, classes)
