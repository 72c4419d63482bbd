"""The cells of an evaluation: which classifiers are trained on which increments. Loads no torch."""

from dataclasses import dataclass
from typing import Literal

from lgd.config import EvaluationConfig, StagesConfig
from lgd.storage.files import safe_name


@dataclass(frozen=True)
class Cell:
    """One fresh classifier: trained on increments 1 to `increment` and tested on real images, or, for redundancy,
    trained on one increment and tested on each."""

    kind: Literal["accuracy", "redundancy"]
    architecture: str
    increment: int
    seed: int

    @property
    def name(self) -> str:
        """The stem of the cell's file in a run directory."""
        kind = self.kind if self.kind == "redundancy" else f"{self.kind}-{safe_name(self.architecture)}"
        return f"{kind}-{self.increment:02d}-{self.seed}"


def evaluators(config: EvaluationConfig) -> tuple[str, ...]:
    """Return the architectures that evaluate a set; the first gives the headline."""
    return config.architectures or (config.classifier.architecture,)


def evaluated_increments(config: EvaluationConfig, stages: StagesConfig) -> list[int]:
    """Return the increments, from 1, after which the set is evaluated: those at `evaluation.ipc`, and the last."""
    every = range(1, stages.increments + 1)
    return [
        i for i in every if not config.ipc or i * stages.images_per_increment in config.ipc or i == stages.increments
    ]


def cells_of(config: EvaluationConfig, stages: StagesConfig) -> list[Cell]:
    """Return all cells of a run, the longest trainings first, so that workers finish together."""
    accuracy = [
        Cell("accuracy", architecture, increment, seed)
        for increment in reversed(evaluated_increments(config, stages))
        for architecture in evaluators(config)
        for seed in range(config.seeds)
    ]
    redundancy = [
        Cell("redundancy", evaluators(config)[0], increment, seed)
        for increment in range(1, stages.increments + 1)
        for seed in range(config.redundancy_seeds)
    ]
    return accuracy + redundancy
