"""The pieces of a configuration that make images: small frozen values that travel to worker processes."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from lgd.config import (
    ClassifierConfig,
    Config,
    DatasetConfig,
    GeneratorConfig,
    GuidanceConfig,
    InfluenceConfig,
    JudgeConfig,
    ModesConfig,
    RealConfig,
    ReferenceConfig,
    SamplingConfig,
    StagesConfig,
    SurrogateConfig,
)
from lgd.data.class_names import canonical

from .layout import Run


@dataclass(frozen=True)
class Assets:
    """Networks that several runs may share: where they lie, and what they were made from.

    root: holds `generator/`, `reference.safetensors`, `judge.safetensors` and the folders of a method's own assets.
    """

    root: Path
    dataset: DatasetConfig
    generator: GeneratorConfig
    reference: ReferenceConfig
    judge: JudgeConfig
    surrogate: SurrogateConfig
    device: str

    @property
    def generator_folder(self) -> Path:
        return self.root / "generator"

    @property
    def reference_file(self) -> Path:
        return self.root / "reference.safetensors"

    @property
    def judge_file(self) -> Path:
        return self.root / "judge.safetensors"

    @property
    def independent_file(self) -> Path:
        return self.root / "independent" / "network.safetensors"

    @property
    def surrogate_folder(self) -> Path:
        return self.root / "surrogate"

    @property
    def real_folder(self) -> Path:
        return self.root / "real"


def assets_of(config: Config, root: Path, device: str) -> Assets:
    surrogate = config.influence.surrogate
    return Assets(root, config.dataset, config.generator, config.reference, config.judge, surrogate, device)


@dataclass(frozen=True)
class Recipe:
    """The settings that a method samples with."""

    method: str
    seed: int
    sampling: SamplingConfig
    guidance: GuidanceConfig
    influence: InfluenceConfig
    modes: ModesConfig
    real: RealConfig
    stages: StagesConfig


def first_step(recipe: Recipe) -> int:
    """Return the index of the step at which sampling starts: that of pure noise, or of the noised anchors."""
    steps, chosen = recipe.sampling.steps, recipe.stages.anchor_step
    if recipe.stages.anchor == "none":
        return steps - 1
    return steps // 2 if chosen is None else chosen


def recipe_of(config: Config) -> Recipe:
    return Recipe(**{field.name: getattr(config, field.name) for field in fields(Recipe)})


@dataclass(frozen=True)
class Growth:
    """Everything that decides how a set grows in a run directory."""

    run: Run
    assets: Assets
    seed: Recipe
    """of increment 1"""
    later: Recipe
    """of all other increments"""
    learner: ClassifierConfig
    class_order: tuple[str, ...]
    """the classes in the order of the labels in files"""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the classes in the order of the labels in memory."""
        return canonical(self.class_order)

    def recipe(self, increment: int) -> Recipe:
        """Return the settings of an increment as configured; coverage has ended after its last increment."""
        recipe = self.seed if increment == 1 else self.later
        covered = recipe.stages.coverage_increments
        if not covered or increment <= covered:
            return recipe
        return replace(recipe, stages=replace(recipe.stages, coverage="none"))

    def settled(self, increment: int) -> Recipe:
        """Return the settings that an increment is sampled with: with the strength that a calibration found."""
        recipe = self.recipe(increment)
        if recipe.guidance.strength != "auto" or not (table := self.run.read_calibration(increment)):
            return recipe
        return replace(recipe, guidance=replace(recipe.guidance, strength=table["strength"]))

    def first_of(self, increment: int) -> int:
        """Return the first increment of the method that makes this one."""
        return 1 if increment == 1 or self.seed.method == self.later.method else 2

    def learner_files(self, increment: int) -> list[Path]:
        return [self.run.learner(increment, member) for member in range(self.later.stages.learners)]
