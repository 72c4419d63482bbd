"""The configuration of a run: frozen nested dataclasses. pydantic checks types and ranges of every field."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from .classifiers import ClassifierConfig, EvaluationConfig, JudgeConfig, ReferenceConfig
from .generator import GeneratorConfig
from .sampling import GuidanceConfig, InfluenceConfig, ModesConfig, SamplingConfig
from .section import Count, Positive, Section, Share, Strength, Whole


@dataclass(frozen=True)
class DatasetConfig(Section):
    """The real images: their source, how they are read, and how they are split."""

    source: str = "digits"
    """Source of the images: digits, folder:PATH, folder:TRAIN,TEST, parquet:TRAIN,TEST, arrays:FILE.npz or
    hf:NAME[:CONFIG][@REVISION] (docs/data.md)."""
    size: Whole = 0
    """Side in pixels to which images are resized and centre-cropped. 0: chosen from the images."""
    channels: Literal[0, 1, 3] = 0
    """Number of colour channels: 1 (grey) or 3 (RGB). 0: chosen from the images."""
    bits: Literal[0, 8, 10, 12, 14, 16] = 0
    """Number of bits that hold the values of images with 16 bits per channel. 0: chosen from their largest values."""
    background: str = ""
    """Colour laid under transparent images, such as white or #ff8800. Empty: transparency is dropped, which shows the
    colour stored under it."""
    classes: tuple[str, ...] = ()
    """Names of the classes to use, whose order numbers the labels in files; or one entry that names a built-in list or
    a file with one class per line. Empty: all classes."""
    image_column: str = ""
    """Name of the table column that holds the images. Empty: found by its type."""
    label_column: str = ""
    """Name of the table column that holds the labels. Empty: found by its type."""
    skip_broken: bool = False
    """Leave out images that cannot be read, and report how many."""
    eval_split: Literal["test", "validation"] = "test"
    """Images to evaluate on: test, or validation, which holds out a part of the training set and never reads the test
    set; use it for tuning."""
    test_fraction: Share = 0.25
    """Share of the images held out for testing, in [0, 1), for sources without a test split. 0: none, to select from
    all; then nothing can be evaluated."""
    validation_fraction: Share = 0.2
    """Share of the training set held out when eval_split is validation, in [0, 1)."""
    split_seed: Whole = 0
    """Seed of both splits; the run's seed does not change them."""


@dataclass(frozen=True)
class StagesConfig(Section):
    """How the set grows in increments."""

    increments: Count = 5
    """Number of increments, the seed set included."""
    images_per_increment: Count = 2
    """Images per class in each increment."""
    schedule: Literal["fixed", "adaptive"] = "fixed"
    """Number of increments: fixed, or adaptive (at most `increments`: the set ends when the learner's loss on fresh
    candidates exceeds the reference's by `margin` at most)."""
    margin: Strength = 1.0
    """Margin of the adaptive schedule, in nats: the learner's mean loss minus the reference's."""
    candidates: Count = 3
    """Kappa, the number of candidates sampled for every image kept."""
    selection: str = "valid-first"
    """Rule that chooses among candidates: score (the highest learnability score), valid-first (the highest among those
    that the reference classifies correctly, among all where there is none), easiest-unlearned (the lowest reference
    loss among valid ones that the learner fails) or easiest (the lowest reference loss; docs/method.md)."""
    unlearned_above: Strength = 1.0
    """Loss of the learner, in nats, above which easiest-unlearned takes a candidate as not yet learned."""
    coverage: Literal["none", "herding", "sinkhorn"] = "none"
    """Coverage of the class by the whole set, which then decides among a class's candidates: none, herding (nearest
    mean) or sinkhorn (least transport to k-means centres), in the features of `coverage_network`. Where `selection`
    can rank candidates, only the half of higher rank competes."""
    coverage_network: Literal["independent", "reference"] = "independent"
    """Network whose features coverage takes: independent (one that takes no part in guidance) or reference."""
    coverage_increments: Whole = 0
    """Number of increments, from the first, with coverage. 0: all."""
    keep_rejected: bool = False
    """Store pictures of at most 64 pixels of the candidates that were not kept; the report shows them."""
    seed_method: str = "dit"
    """Name of the method that makes the first increment, for methods that need a learner."""
    seed_candidates: Count | None = None
    """Candidates for every image kept of the first increment, for methods that need a learner; its method must choose
    among them, as dit-easiest and dit-herded do. None: as many as `candidates`."""
    anchor: Literal["none", "random", "herding", "k-means", "learnability"] = "none"
    """Real images from whose noised latents sampling starts: none (it starts from noise), random, herding or k-means
    (in the reference's features), or learnability (the real candidates that `selection` chooses first; without a
    learner, herding)."""
    seed_anchor: Literal["same", "none", "random", "herding", "k-means"] = "same"
    """Anchors of the first increment, for methods that need a learner; same: those of `anchor`."""
    anchor_step: Whole | None = None
    """Step index t0 at which sampling from an anchor starts; sampling.steps - 1 is almost pure noise, and a small index
    copies the anchor. None: that of a method with anchors of its own, else half of the steps."""
    learners: Count = 1
    """Number of learners trained per increment; the score takes the mean of their losses."""
    classes_per_unit: Count = 5
    """Number of classes sampled together, as one resumable unit of work."""


@dataclass(frozen=True)
class RealConfig(Section):
    """Real images as candidates, for the methods that select them by the learner's and the reference's losses."""

    candidates: Count = 10
    """Number of real candidates for every image kept. Where a class has fewer, all of them compete."""
    pool: Whole = 0
    """Number of real images per class that may become candidates, a random choice that is the same for every run. 0:
    all. The reference classifies the whole pool once."""
    order: Literal["random", "herding", "k-center"] = "random"
    """Order in which images become candidates: random (drawn anew in every increment), herding or k-center (in the
    reference's features)."""
    seed_method: str = "herding"
    """Name of the method that makes the first increment where no generator is used: random, herding or k-center."""


@dataclass(frozen=True)
class ComputeConfig(Section):
    """Where the work runs. No field changes the result on the same kind of hardware."""

    device: str = "auto"
    """Device: cpu, cuda, cuda:N, or auto (CUDA where available, else the CPU)."""
    workers: Whole = 0
    """Number of processes for independent units of work. 0: one per core on the CPU, one on a GPU."""
    engine: Literal["local", "ray"] = "local"
    """Engine that runs the units of work: local (processes on this machine) or ray (a Ray cluster; docs/scaling.md)."""
    address: str = "auto"
    """Address of the Ray cluster: auto (the one this machine belongs to), HOST:PORT, or local (one for this command).
    """
    cpus_per_unit: Positive = 1
    """Number of CPUs that Ray reserves for a unit of work."""
    gpus_per_unit: Strength = 0
    """Number of GPUs that Ray reserves for a unit of work; a fraction lets several units share one."""
    retries: Annotated[int, Field(ge=0, le=1000)] = 2
    """Number of times to try a unit of work again after an error that may pass: of a worker, memory, network, files."""


@dataclass(frozen=True, kw_only=True)
class Config(Section):
    """All settings of a run."""

    name: str = "custom"
    """Name of the configuration: by default that of the preset or file."""
    method: str = "lgd"
    """Name of the method that makes the images (docs/method.md); an unknown name prints the list. auto: what we would
    choose for this number of images, with its reason; real images unless `synthetic`."""
    synthetic: bool = False
    """Refuse methods whose set holds real images; auto then chooses among those that sample."""
    minutes: Strength = 0.0
    """Budget in minutes, into which the automatic settings of a source such as folder:PATH are fitted by measuring this
    machine; the numbers are kept in budget.json. 0: no budget."""
    seed: Whole = 0
    """Seed of the run. The generator, the reference, the judge and the surrogate have seeds of their own and do not
    depend on it."""
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """The real images: their source, how they are read, and how they are split."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """The generator, a diffusion model, and the training of a new one (DiT)."""
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    """The classifier trained on the whole real set, which guides sampling and selection."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    """The classifier that measures validity, FID, precision and recall, and takes no part in making the images."""
    learner: ClassifierConfig = field(default_factory=ClassifierConfig)
    """The classifier trained on the increments made so far."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """How images are sampled from the generator."""
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    """Learnability guidance and deviation guidance (docs/method.md)."""
    influence: InfluenceConfig = field(default_factory=InfluenceConfig)
    """Influence guidance (IGD); its remaining settings are those of `guidance`."""
    modes: ModesConfig = field(default_factory=ModesConfig)
    """Mode guidance (MGD3): sampling moves towards centroids of the real images' latents."""
    real: RealConfig = field(default_factory=RealConfig)
    """Real images as candidates, for the methods that select them by the learner's and the reference's losses."""
    stages: StagesConfig = field(default_factory=StagesConfig)
    """How the set grows in increments."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How a set is evaluated: fresh classifiers are trained on it and tested on real images."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """Where the work runs. No field changes the result on the same kind of hardware."""
