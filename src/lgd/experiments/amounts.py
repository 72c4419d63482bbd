"""Divide the minutes of a budget among the pieces of a run, which are made in the order of `SHARES`."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from lgd.config import Config
from lgd.distillation.methods import with_method
from lgd.profiling.sizes import Sizes
from lgd.profiling.speed import Speed, phases_at

SHARES = {"reference": 0.15, "judge": 0.1, "generator": 0.45, "stages": 0.18, "evaluation": 0.12}
"""of the budget; a piece has its share of what is left when the pieces before it are made"""
OF_STAGES = ("real images", "learners", "calibration and fresh candidates", "images")
"""phases of profiling that are the stages of a set"""
CANDIDATES = ((0.4, (3,)), (0.0, (2,)))
"""stages.candidates, each with the least factor on the epochs of the learners"""
EVALUATIONS = ((0.6, (3, 2, 5)), (0.4, (3, 1, 5)), (0.25, (2, 1, 2)), (0.0, (1, 1, 1)))
"""evaluation.seeds, evaluation.redundancy_seeds and the most evaluation.evaluations, each with the least factor on the
epochs"""
LEAST_TRAINED = 5  # epochs of learners and evaluation
LEAST_EPOCHS, MOST_EPOCHS = 2, 60
LEAST_STEPS, MOST_STEPS = 100, 20_000
Values = dict[str, Any]
"""of fields, by their dotted names"""


def seconds_of_pieces(
    config: Config, methods: Sequence[str], runs: int, sizes: Sizes, speed: Speed, device: str
) -> dict[str, float]:
    """Return the seconds of each piece: of `SHARES`, and of the networks of a method's own.

    Sets of several methods, each with `runs` runs, share the networks. Without methods there is a generator alone, with
    the reference that it is aligned with.
    """
    found: dict[str, float] = {}
    for method in methods or ("dit",):
        for name, seconds in phases_at(with_method(config, method), sizes, speed, device).items():
            piece = "stages" if name in OF_STAGES else name
            repeated = piece in ("stages", "evaluation")
            found[piece] = found.get(piece, 0.0) + runs * seconds if repeated else seconds
    alone = ("reference", "generator") if config.generator.align else ("generator",)
    return found if methods else {name: found[name] for name in alone}


def amounts_for(
    left: float, seconds: Callable[[Values], dict[str, float]], config: Config, due: Collection[str]
) -> Values:
    """Choose the amounts of work of the pieces in `due` for `left` seconds.

    seconds: returns those of each piece for values of fields. The generator is chosen last, without one the evaluation:
    it has what the others leave.
    """
    values: Values = {}
    plain = seconds({})
    pieces = [
        name for name in ("reference", "judge", "stages", "evaluation", "generator") if name in due and plain.get(name)
    ]
    if "judge" in due:  # the networks of a method's own are made after it
        left -= sum(value for name, value in plain.items() if name not in SHARES)
    for index, piece in enumerate(pieces):
        allowed = left * SHARES[piece] / sum(SHARES[name] for name in pieces[index:])
        values |= AMOUNTS[piece](allowed, partial(seconds_of, seconds, piece, values), config)
        left -= seconds(values)[piece]
    return values


def seconds_of(seconds: Callable[[Values], dict[str, float]], piece: str, values: Values, tried: Values) -> float:
    """Return the seconds of a piece for values that were chosen before and some that are tried."""
    return seconds({**values, **tried})[piece]


def fitting(field: str, least: int, most: int) -> Callable[..., Values]:
    """Return the choice of a count, such as of epochs, on which the seconds depend linearly."""

    def choose(allowed: float, seconds: Callable[[Values], float], config: Config) -> Values:
        return {field: max(least, min(most, int(allowed / seconds({field: 1}))))}

    return choose


def stages(allowed: float, seconds: Callable[[Values], float], config: Config) -> Values:
    """Choose the candidates and the epochs of the learners."""
    epochs, field = config.learner.training.epochs, "learner.training.epochs"

    def at(factor: float, candidates: int) -> Values:
        return {field: max(LEAST_TRAINED, round(factor * epochs)), "stages.candidates": candidates}

    return best(CANDIDATES, at, allowed, seconds)


def evaluation(allowed: float, seconds: Callable[[Values], float], config: Config) -> Values:
    """Choose the evaluations and their epochs."""
    epochs, field = config.evaluation.classifier.training.epochs, "evaluation.classifier.training.epochs"

    def at(factor: float, seeds: int, redundancy: int, tests: int) -> Values:
        counts = {"evaluation.seeds": seeds, "evaluation.redundancy_seeds": redundancy}
        counts["evaluation.evaluations"] = min(tests, config.evaluation.evaluations)
        return {field: max(LEAST_TRAINED, round(factor * epochs)), **counts}

    return best(EVALUATIONS, at, allowed, seconds)


def best(
    levels: Sequence[tuple[float, tuple[int, ...]]],
    at: Callable[..., Values],
    allowed: float,
    seconds: Callable[[Values], float],
) -> Values:
    """Return the first level whose least factor on the epochs fits, with the largest factor that fits, up to 1."""
    for least, counts in levels:
        whole, half = seconds(at(1.0, *counts)), seconds(at(0.5, *counts))
        factor = 1 - (whole - allowed) / (2 * (whole - half)) if whole > half else float(whole <= allowed)
        if factor >= least:
            break
    return at(max(0.0, min(1.0, factor)), *counts)


AMOUNTS: dict[str, Callable[..., Values]] = {
    "reference": fitting("reference.training.epochs", LEAST_EPOCHS, MOST_EPOCHS),
    "judge": fitting("judge.training.epochs", LEAST_EPOCHS, MOST_EPOCHS),
    "generator": fitting("generator.steps", LEAST_STEPS, MOST_STEPS),
    "stages": stages,
    "evaluation": evaluation,
}
