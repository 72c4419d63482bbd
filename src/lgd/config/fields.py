"""The configuration of a run: frozen nested dataclasses. pydantic checks types and ranges of every field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from .classifiers import ClassifierConfig, ReferenceConfig
from .types import Count, Positive, Precision, Share, Size, Strength, TimeFrequencies, Whole


@dataclass(frozen=True)
class DatasetConfig:
    """The real images."""

    source: str = "digits"
    """where the images come from: digits, folder:PATH, folder:TRAIN,TEST, parquet:TRAIN,TEST or hf:NAME[@REVISION]
    (docs/data.md)"""
    size: Whole = 0
    """side in pixels that images are resized and centre-cropped to; 0: by the images"""
    channels: Literal[0, 1, 3] = 0
    """1: grey, 3: RGB; 0: by the images"""
    classes: tuple[str, ...] = ()
    """the classes to use, in this order; or one entry, the name of a list or of a file with a name a line; none: all"""
    image_column: str = ""
    """of a table; empty: found by its type"""
    label_column: str = ""
    """of a table; empty: found by its type"""
    skip_broken: bool = False
    """leave out images that cannot be read, and count them"""
    eval_split: Literal["test", "validation"] = "test"
    """validation: hold out a part of the training set and judge on that, for tuning; the test set stays unseen"""
    test_fraction: Share = 0.25
    """share of images kept for the test, for sources that have no split of their own"""
    validation_fraction: Share = 0.2
    """share of the training set held out when judging on validation"""
    split_seed: Whole = 0


@dataclass(frozen=True)
class GeneratorConfig:
    """The class-conditional diffusion transformer (DiT) and its training."""

    source: str = ""
    """a generator that is there already: a folder made by lgd, or pretrained:PATH_OR_HUB_ID; empty: train one"""
    class_map: str = ""
    """TOML file with a table [classes] from the image set's classes to the source's: an id, a name or a WordNet id"""
    tune: Literal["none", "full", "difffit"] = "none"
    """train the source further on the images: all of it, or its biases, label table and a scale per branch (DiffFit)"""
    time_frequencies: TimeFrequencies = "auto"
    """of the timestep embedding: dit: of DiT's own code and weights; diffusers: of its class; auto: those that the
    source was trained with, as its folder tells (docs/generators.md), and diffusers' for a new generator"""
    autoencoder: str = ""
    """folder of the autoencoder whose latents are modelled: AutoencoderKL, AutoencoderTiny or taef2; empty: pixels"""
    image_size: Whole = 0
    """side in pixels of the images that the autoencoder sees; 0: of the image set's"""
    size: Literal["custom", "tiny", "small", "base"] = "custom"
    """tiny: 8 blocks of width 256, 11 M parameters; small and base: DiT-S (35 M) and DiT-B (138 M); custom: as below"""
    blocks: Size = 3
    heads: Size = 3
    head_width: Size = 32
    patch_size: Size = 2
    steps: Count = 1200
    """optimiser steps"""
    batch_size: Count = 64
    learning_rate: Positive = 1e-3
    warmup_steps: Whole = 50
    label_dropout: Share = 0.1
    """probability of training on the null class, for classifier-free guidance"""
    ema_decay: Share = 0.995
    prediction: Literal["epsilon", "sample", "v_prediction"] = "epsilon"
    """what it learns to say: the noise; the clean sample, which a network that is narrow for its patches learns far
    sooner; or v, between the two"""
    min_snr: Strength = 0.0
    """gamma of min-SNR weighting, 5 in its paper; 0: every timestep counts the same"""
    flip: bool = False
    """random horizontal flip"""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """of training; bfloat16: automatic mixed precision; auto: the fastest here, packed weights (docs/speed.md) and
    bfloat16 where the hardware has instructions for it"""
    train_timesteps: Count = 1000
    beta_start: Positive = 1e-4
    beta_end: Positive = 0.02
    threads: Count = 2
    """CPU threads in training; part of the configuration because sums depend on how they are split"""
    seed: Whole = 0


@dataclass(frozen=True)
class SamplingConfig:
    """How images are drawn from the generator."""

    scheduler: Literal["ddpm", "ddim", "dpm++"] = "ddpm"
    steps: Count = 50
    batch_size: Count = 256
    """most images drawn at once, halved when memory runs out; the noise of an image does not depend on it"""
    classifier_free_scale: Strength = 1.5
    """classifier-free guidance; 1 is none"""
    guided_channels: Whole = 0
    """channels of the latent that classifier-free guidance acts on, the first so many; 0: all. DiT's own code: 3"""
    precision: Precision = "float32"
    """of denoiser and autoencoder; bfloat16 is faster where the hardware has it, and halves the memory"""
    compile: bool = False
    """torch.compile the denoiser: seconds to minutes at the start, needs a C++ compiler on the CPU"""


@dataclass(frozen=True)
class GuidanceConfig:
    """How sampling is steered (docs/method.md)."""

    strength: Strength = 0.3
    """lambda: pull towards a higher learnability score"""
    omega: Strength = 1.0
    """weight of the reference's loss in the score"""
    deviation: Strength = 0.3
    """gamma: push away from the nearest image already in the set"""
    space: Literal["noise", "sample"] = "noise"
    """noise: dimensionless strengths, any scheduler; sample: the lineage's form, DDPM only"""
    route: Literal["denoiser", "x0"] = "x0"
    """denoiser: differentiate through the denoiser; x0: treat its output as constant, far cheaper"""
    window: tuple[Whole, Whole] = (10, 45)
    """first and last step index that is guided; index steps - 1 is pure noise, 0 the last step"""
    every: Count = 1
    """guide only every so many-th step of the window, from its noisiest on, and so many times as strongly"""
    decoder: str = ""
    """folder of a small decoder of the generator's latents, such as an AutoencoderTiny, to guide through; the
    generator's own decodes what is stored; empty: that one guides, too"""
    memory: Count = 64
    """newest images per class that deviation looks at"""


@dataclass(frozen=True)
class ModesConfig:
    """Mode guidance (MGD3): samples are drawn to centroids of the real images' latents."""

    strength: Strength = 0.1
    """of the pull, in standard deviations of the sampler's noise"""
    stop: Whole = 25
    """last step index without the pull; it acts above, while the sample is noisy"""


@dataclass(frozen=True)
class SurrogateConfig:
    """The classifier of influence guidance, trained on the real set, and the checkpoints kept of it."""

    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    checkpoints: Count = 4
    """most checkpoints kept"""
    similarity: Annotated[float, Field(ge=-1, le=1)] = 0.7
    """a checkpoint is kept when its class gradients' mean cosine to those of the one kept before is lower"""
    images: Count = 200
    """most real images per class that a class gradient is taken over"""


@dataclass(frozen=True)
class InfluenceConfig:
    """Influence guidance (IGD); its space and route are those of `guidance`."""

    strength: Strength = 0.3
    """k: pull towards images whose gradients agree with their class's"""
    deviation: Strength = 0.3
    """gamma: push away from the nearest image already in the set"""
    window: tuple[Whole, Whole] | None = None
    """first and last step index that is guided; none: as in `guidance`"""
    surrogate: SurrogateConfig = field(default_factory=SurrogateConfig)


@dataclass(frozen=True)
class StagesConfig:
    """How the set grows."""

    increments: Count = 5
    images_per_increment: Count = 2
    """images per class in each increment"""
    candidates: Count = 3
    """kappa: images drawn for every one kept"""
    selection: Literal["score", "valid-first"] = "valid-first"
    """score: the highest; valid-first: the highest of those that the reference classifies correctly, if there is one"""
    halving: Whole = 0
    """step index at which a slot's candidates are compared, by the score of the image predicted there; only the best
    is drawn on; 0: all are drawn to the end"""
    seed_method: str = "dit"
    """method that draws the first increment"""
    learners: Count = 1
    """learners trained per increment; the score takes the mean of their losses"""
    classes_per_unit: Count = 5
    """classes drawn together, as one resumable unit of work"""


@dataclass(frozen=True)
class TeacherConfig:
    """Whose soft labels the soft-label protocol learns from."""

    weights: str = ""
    """safetensors file of a classifier saved by lgd; empty: the run's reference"""
    architecture: str = "resnet18"
    """of `weights`; the reference has its own"""
    width: Size = 128
    depth: Whole = 0
    stored: bool = False
    """label each image once, stored beside the images, instead of each augmented batch as it comes"""


@dataclass(frozen=True)
class EvaluationConfig:
    """How a set is judged."""

    protocol: Literal["configured", "minimax", "igd", "soft"] = "configured"
    """configured: evaluation.classifier.training as it is; minimax and igd: the field's hard-label protocols; soft: the
    soft-label protocol of RDED (docs/protocols.md)"""
    epochs_factor: Positive = 1.0
    """multiplies the epochs of whichever protocol it is"""
    evaluations: Count = 5
    """times that a classifier is tested while it trains; the best of them is reported beside the last"""
    ipc: tuple[Count, ...] = ()
    """images per class to judge the set at, beside the whole of it; none: after every increment"""
    architectures: tuple[str, ...] = ()
    """classifiers to judge with, the first for the headline; none: evaluation.classifier alone"""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    seeds: Count = 5
    """fresh classifiers trained on the set after each increment"""
    redundancy_seeds: Whole = 3
    """fresh classifiers trained on each single increment; 0 leaves redundancy out"""


@dataclass(frozen=True)
class ComputeConfig:
    """Where it runs. Nothing here changes the result on the same kind of hardware."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    workers: Whole = 0
    """processes for independent units of work; 0: one per core on CPU, one on a GPU"""
    engine: Literal["local", "ray"] = "local"
    """local: processes on this machine; ray: a Ray cluster (extra: ray; docs/scaling.md)"""
    address: str = "auto"
    """of the Ray cluster: auto (the one this machine is part of), HOST:PORT, or local (one for this command)"""
    cpus_per_unit: Positive = 1
    """what Ray sets aside for a unit of work"""
    gpus_per_unit: Strength = 0
    """a part of a GPU lets several units share it"""
    retries: Annotated[int, Field(ge=0, le=1000)] = 2
    """times that a unit of work is tried again, when it failed or its Ray worker died"""


@dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str = "custom"
    method: str = "lgd"
    """how images are made; an unknown name lists all"""
    seed: Whole = 0
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    learner: ClassifierConfig = field(default_factory=ClassifierConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    influence: InfluenceConfig = field(default_factory=InfluenceConfig)
    modes: ModesConfig = field(default_factory=ModesConfig)
    stages: StagesConfig = field(default_factory=StagesConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
