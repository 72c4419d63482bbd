"""The parts of the configuration that describe sampling and every kind of guidance."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from .classifiers import ClassifierConfig
from .section import Count, Precision, Section, Strength, Whole


@dataclass(frozen=True)
class SamplingConfig(Section):
    """How images are sampled from the generator."""

    scheduler: Literal["ddpm", "ddim", "dpm++"] = "ddpm"
    """Sampler: ddpm, ddim or dpm++ (DPM-Solver++)."""
    steps: Count = 50
    """Number of denoising steps per image, at most generator.train_timesteps."""
    batch_size: Count = 256
    """Largest number of images sampled together; it is halved when memory runs out. The noise of an image does not
    depend on it."""
    classifier_free_scale: Strength = 1.5
    """Scale of classifier-free guidance. 1: no guidance."""
    guided_channels: Whole = 0
    """Number of latent channels, counted from the first, that classifier-free guidance changes. 0: all. DiT's own code
    uses 3."""
    precision: Precision = "float32"
    """Precision of the denoiser and the autoencoder; bfloat16 halves their memory and is faster on hardware that has
    it."""
    compile: bool = False
    """Compile the denoiser with torch.compile. This takes seconds to minutes at the start and, on the CPU, a C++
    compiler."""


@dataclass(frozen=True)
class GuidanceConfig(Section):
    """Learnability guidance and deviation guidance (docs/method.md)."""

    strength: Strength | Literal["auto"] = 0.3
    """Lambda, the strength with which sampling climbs the learnability score. 0: none. auto: calibrated before the
    first guided increment (docs/method.md)."""
    omega: Strength = 1.0
    """Omega, the weight of the reference's loss in the learnability score."""
    deviation: Strength = 0.3
    """Gamma, the strength with which sampling moves away from the nearest image already in the set. 0: none."""
    space: Literal["noise", "sample"] = "noise"
    """Space of the guidance steps: noise (dimensionless strengths, any scheduler) or sample (the form of IGD's public
    code, ddpm only)."""
    route: Literal["denoiser", "x0"] = "x0"
    """Route of the gradient: denoiser (through the denoiser) or x0 (with the denoiser's output held constant, far
    cheaper)."""
    window: tuple[Whole, Whole] = (10, 45)
    """First and last guided step, as step indices: sampling.steps - 1 is pure noise, 0 is the last step."""
    every: Count = 1
    """Guide every N-th step of the window, counted from its noisiest, with N times the strength."""
    decoder: str = ""
    """Folder of a small decoder of the generator's latents, such as an AutoencoderTiny, used by guidance only; stored
    images are decoded by the generator's own. Empty: guidance uses that one, too."""
    memory: Count = 64
    """Number of images per class, the newest, from which deviation guidance moves away."""


@dataclass(frozen=True)
class ModesConfig(Section):
    """Mode guidance (MGD3): sampling moves towards centroids of the real images' latents."""

    strength: Strength = 0.1
    """Strength of the pull, in standard deviations of the sampler's noise."""
    stop: Whole = 25
    """Last step index without the pull; only higher, noisier indices have it."""
    flip: bool = False
    """Flip real images horizontally at random before their latents are clustered, as MGD3's code does."""


@dataclass(frozen=True)
class SurrogateConfig(Section):
    """The classifier of influence guidance, trained on the real set, and its checkpoints."""

    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Architecture and training of the surrogate."""
    checkpoints: Count = 4
    """Largest number of checkpoints to keep."""
    similarity: Annotated[float, Field(ge=-1, le=1)] = 0.7
    """Cosine, in [-1, 1], below which a checkpoint is kept: the mean over the classes of the cosine between its class
    gradients and those of the checkpoint kept before."""
    epochs: tuple[Whole, ...] = ()
    """Epochs after which a checkpoint is kept; 0 is the untrained network. Empty: the untrained network and then those
    that `similarity` chooses."""
    image_size: Whole = 0
    """Side in pixels of the images that the surrogate sees; smaller real images are left out. 0: that of the image
    set. IGD's code uses 256."""
    images: Count = 200
    """Largest number of real images per class in a class gradient."""


@dataclass(frozen=True)
class InfluenceConfig(Section):
    """Influence guidance (IGD); its remaining settings are those of `guidance`."""

    strength: Strength = 0.3
    """K, the strength with which sampling climbs the influence: the agreement of an image's gradients with its
    class's."""
    deviation: Strength = 0.3
    """Gamma, the strength with which sampling moves away from the nearest image already in the set. 0: none."""
    window: tuple[Whole, Whole] | None = None
    """First and last guided step, as step indices. None: guidance.window."""
    halves: Literal["class", "both"] = "class"
    """Images whose loss gradient is compared: class (the sampled image's) or both (the mean loss of the two halves of
    the classifier-free batch, as in IGD's code; docs/fidelity.md)."""
    surrogate: SurrogateConfig = field(default_factory=SurrogateConfig)
    """The classifier whose gradients are compared."""
