"""The configuration of a run: read from TOML, overridden by flags, written as JSON."""

from .changes import differences, with_defaults, with_values
from .checks import check, from_dict, refuse_former_field, to_dict
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
from .types import Count, Positive, Precision, Share, Size, Strength, Whole

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
    "TrainingConfig",
    "Whole",
    "check",
    "differences",
    "from_dict",
    "load_config",
    "presets",
    "refuse_former_field",
    "to_dict",
    "with_defaults",
    "with_values",
]
