"""The configuration of a run: read from TOML, changed by command-line options, written as JSON."""

from .changes import differences, upgraded, with_defaults, with_per_class, with_values
from .checks import check, from_dict, refuse_former_field, to_dict
from .classifiers import ClassifierConfig, JudgeConfig, ReferenceConfig, TrainingConfig
from .dataset import DatasetConfig
from .evaluation import EvaluationConfig, TeacherConfig
from .fields import ComputeConfig, Config, StagesConfig
from .generator import GeneratorConfig, LoraConfig, PromptConfig
from .reading import LARGEST_TOML, load_config, presets
from .real import RealConfig
from .sampling import GuidanceConfig, InfluenceConfig, ModesConfig, SamplingConfig, SurrogateConfig
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
    "JudgeConfig",
    "LoraConfig",
    "ModesConfig",
    "Positive",
    "Precision",
    "PromptConfig",
    "RealConfig",
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
    "refuse_former_field",
    "to_dict",
    "upgraded",
    "with_defaults",
    "with_per_class",
    "with_values",
]
