"""The configuration of a run: read from TOML, overridden by flags, written as JSON."""

from .changes import differences, with_defaults, with_values
from .checks import check, from_dict, to_dict
from .classifiers import ClassifierConfig, ReferenceConfig, TrainingConfig
from .fields import (
    ComputeConfig,
    Config,
    DatasetConfig,
    EvaluationConfig,
    GeneratorConfig,
    GuidanceConfig,
    InfluenceConfig,
    ModesConfig,
    SamplingConfig,
    StagesConfig,
    SurrogateConfig,
    TeacherConfig,
)
from .reading import LARGEST_TOML, load_config, presets
from .types import Count, Positive, Precision, Share, Size, Strength, TimeFrequencies, Whole

__all__ = [
    "LARGEST_TOML",
    "ClassifierConfig",
    "ComputeConfig",
    "Config",
    "Count",
    "DatasetConfig",
    "EvaluationConfig",
    "GeneratorConfig",
    "GuidanceConfig",
    "InfluenceConfig",
    "ModesConfig",
    "Positive",
    "Precision",
    "ReferenceConfig",
    "SamplingConfig",
    "Share",
    "Size",
    "StagesConfig",
    "Strength",
    "SurrogateConfig",
    "TeacherConfig",
    "TimeFrequencies",
    "TrainingConfig",
    "Whole",
    "check",
    "differences",
    "from_dict",
    "load_config",
    "presets",
    "to_dict",
    "with_defaults",
    "with_values",
]
