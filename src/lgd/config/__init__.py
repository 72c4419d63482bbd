"""The configuration of a run: read from TOML, changed by command-line options, written as JSON."""

from .changes import differences, upgraded, with_defaults, with_per_class, with_values
from .checks import LARGEST_TOML, check, from_dict, load_config, presets, refuse_former_field, to_dict
from .classifiers import ClassifierConfig, EvaluationConfig, JudgeConfig, ReferenceConfig, TrainingConfig
from .fields import ComputeConfig, Config, DatasetConfig, RealConfig, StagesConfig
from .generator import GeneratorConfig, LoraConfig, PromptConfig
from .sampling import GuidanceConfig, InfluenceConfig, ModesConfig, SamplingConfig, SurrogateConfig
from .section import Count, Precision, TimeFrequencies, Whole
