"""Configurations built in Python: misspelt fields are refused at once, sections may be dicts, functions are named."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch

import lgd
from lgd.config import ClassifierConfig, Config, EvaluationConfig, GuidanceConfig, with_per_class
from lgd.config.section import Section
from lgd.errors import UserError


def my_network(shape: Any, classes: int) -> None:
    """Stand for a factory."""


def test_sections_may_be_given_as_dicts() -> None:
    config = Config(seed=3, guidance={"omega": 0.5}, learner={"training": {"epochs": 7}})  # type: ignore[arg-type]
    assert (config.guidance.omega, config.learner.training.epochs) == (0.5, 7)
    assert config.guidance == GuidanceConfig(omega=0.5)
    assert config == pickle.loads(pickle.dumps(config)) == copy.deepcopy(config)


def sections(node: Any) -> list[Any]:
    inner = [value for field in fields(node) if is_dataclass(value := getattr(node, field.name))]
    return [node, *(found for value in inner for found in sections(value))]


def test_every_part_of_a_configuration_is_a_section() -> None:
    assert {type(part).__name__ for part in sections(Config()) if not isinstance(part, Section)} == set()


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "a field": (lambda: Config(omega=1), "Config: unknown field 'omega'; known: compute, "),  # type: ignore[call-arg]
    "a section's": (lambda: GuidanceConfig(omgea=1), "unknown field 'omgea'; did you mean 'omega'?"),  # type: ignore[call-arg]
    "in a dict": (lambda: Config(guidance={"omgea": 1}), "GuidanceConfig: unknown field 'omgea'"),  # type: ignore[arg-type]
    "replaced": (lambda: Config().replace("guidance.omgea", 1), "no field 'omgea'; did you mean 'omega'?"),
    "a preset": (lambda: Config("digits"), "Config('digits'): give fields by name; lgd.load_config('digits')"),  # type: ignore[misc]
    "a network": (
        lambda: ClassifierConfig(torch.nn.Linear(2, 2)),  # type: ignore[arg-type]
        "Linear: an object; give a function (shape, classes) -> network",
    ),
    "a lambda": (lambda: ClassifierConfig(lambda: 1), "worker processes cannot import it; define it with `def`"),  # type: ignore[arg-type,return-value]
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_misspelt_field_is_refused_when_built(case: str) -> None:
    build, message = MISTAKES[case]
    with pytest.raises(UserError) as told:
        build()
    assert message in str(told.value)


def test_replace_changes_one_field_of_a_copy() -> None:
    config = lgd.load_config("digits")
    changed = config.replace("guidance.omega", 0.5)
    assert changed.guidance.omega == 0.5 != config.guidance.omega
    assert changed.replace("guidance.omega", config.guidance.omega) == config


def test_a_function_stands_for_its_import_path() -> None:
    path = f"{__name__}:my_network"
    assert Config().replace("learner.architecture", my_network).learner.architecture == path
    assert EvaluationConfig(architectures=(my_network, "convnet")).architectures == (path, "convnet")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "increments", "found"), [(10, None, 5), (8, None, 4), (1, None, 1), (7, 7, 7), (6, 2, 2)]
)
def test_images_per_class_are_spread_over_the_increments(
    count: int, increments: int | None, found: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lgd"):
        stages = with_per_class(Config(), count, increments).stages
    assert (stages.increments, stages.images_per_increment) == (found, count // found)
    told = [f"{count} images per class: {found} increments of {count // found}, not 5"]
    assert caplog.messages == (told if increments is None and found != 5 else [])


def test_images_per_class_that_cannot_be_spread_are_told() -> None:
    for count, increments, near in (
        (13, None, "12 or 14"),
        (7, None, "6 or 8"),
        (49, None, "48 or 50"),
        (7, 3, "6 or 9"),
        (3, 5, "5"),
    ):
        with pytest.raises(
            UserError, match=f"{count} images per class cannot .* equal increments; choose {near} images,"
        ):
            with_per_class(Config(), count, increments)
        for one in near.split(" or "):
            assert with_per_class(Config(), int(one), increments).stages.increments > 1
    with pytest.raises(UserError, match="per_class: must be a whole number of at least 1, not 0"):
        with_per_class(Config(), 0)
