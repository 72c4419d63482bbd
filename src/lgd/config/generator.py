"""The part of the configuration that describes the generator."""

from dataclasses import dataclass, field
from typing import Literal

from .section import Count, Positive, Section, Share, Size, Strength, TimeFrequencies, Whole


@dataclass(frozen=True)
class PromptConfig(Section):
    """Prompts of a text-to-image source."""

    templates: tuple[str, ...] = ("a photo of a {class}",)
    """Prompts of every class: {class} stands for the name of the class, {words} for the words of a name that is a
    WordNet id. The seed of an image chooses among several."""
    table: str = ""
    """TOML file whose table [prompts] gives every class of the image set a prompt or a list of prompts. Empty: use the
    templates."""
    negative: str = ""
    """Negative prompt, from which classifier-free guidance moves away."""


@dataclass(frozen=True)
class LoraConfig(Section):
    """Low-rank adapters, which generator.tune = "lora" trains."""

    rank: Size = 16
    """Rank of the update of each target layer: it has rank times the sum of the layer's input and output widths
    parameters."""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    """Target layers, by the ends of their names in diffusers' network; linear layers and convolutions. The default
    takes the attention and the MLPs of transformer blocks."""


@dataclass(frozen=True)
class GeneratorConfig(Section):
    """The generator, a diffusion model, and the training of a new one (DiT)."""

    source: str = ""
    """Existing generator to use: a folder written by lgd, or pretrained:PATH_OR_HUB_ID. Empty: train one."""
    class_map: str = ""
    """TOML file whose table [classes] maps each class of the image set to a class of the source: an id, a name or a
    WordNet id. Empty: match the classes by name."""
    prompts: PromptConfig = field(default_factory=PromptConfig)
    """Prompts of a text-to-image source."""
    tune: Literal["none", "full", "lora", "difffit"] = "none"
    """Fine-tuning of the source on the images: none, full (all weights), lora (label table and low-rank updates of some
    layers) or difffit (biases, label table and one scale per branch; DiTs only)."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Low-rank adapters, which generator.tune = "lora" trains."""
    time_frequencies: TimeFrequencies = "auto"
    """Frequencies of the timestep embedding: dit (those of DiT's own code and weights), diffusers (those of diffusers'
    class) or auto (those that the source was trained with; diffusers' for a new generator; docs/generators.md)."""
    autoencoder: str = ""
    """Folder of the autoencoder whose latents the generator models: AutoencoderKL, AutoencoderTiny or taef2. Empty:
    model pixels."""
    image_size: Whole = 0
    """Side in pixels of the images given to the autoencoder. 0: that of the image set."""
    size: Literal["custom", "tiny", "small", "base"] = "custom"
    """Size of the transformer: tiny (8 blocks of width 256, 11 M parameters), small (DiT-S, 35 M), base (DiT-B, 138 M),
    or custom (set by blocks, heads and head_width)."""
    blocks: Size = 3
    """Number of transformer blocks, for size custom."""
    heads: Size = 3
    """Number of attention heads, for size custom."""
    head_width: Size = 32
    """Channels per attention head, for size custom. The transformer's width is heads times head_width."""
    patch_size: Size = 2
    """Side of a patch, in pixels of the latents; it must divide the side of the latents."""
    steps: Count = 1200
    """Number of optimiser steps."""
    batch_size: Count = 64
    """Images per optimiser step."""
    learning_rate: Positive = 1e-3
    """Learning rate of AdamW after the warm-up."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up: cosine (falls to zero along half a cosine) or constant (for a training of open
    length, whose averaged weights serve at every step)."""
    warmup_steps: Whole = 50
    """Number of steps over which the learning rate rises linearly."""
    label_dropout: Share = 0.1
    """Probability, in [0, 1), that training replaces a label by the null class; classifier-free guidance needs it."""
    ema_decay: Share = 0.995
    """Decay, in [0, 1), of the exponential moving average of the weights; the average is what samples."""
    prediction: Literal["epsilon", "sample", "v_prediction", "flow_prediction"] = "epsilon"
    """Output of the network: epsilon (the noise), sample (the clean image, learned much sooner by a network that is
    narrow for its patches), v_prediction (a combination of both) or flow_prediction (noise minus image on a straight
    path, whose own noise levels replace the betas)."""
    loss: Literal["squared", "absolute"] = "squared"
    """Error that training minimises: squared (of the network's output) or absolute (of the clean image that the output
    implies)."""
    min_snr: Strength = 0.0
    """Gamma of the min-SNR loss weights; their paper uses 5. 0: equal weights for all timesteps."""
    snr_offset: Strength = 0.0
    """Number added to the SNR before min-SNR weights limit it: 1 gives min(1 + SNR, gamma), which never falls below 1.
    """
    align: Strength | Literal["auto"] = 0.0
    """Weight of the loss that aligns a DiT's tokens with the reference's last feature map (REPA; its paper uses 0.5).
    The reference is then trained before the generator. 0: none. auto: 0.5 for a new generator, if the reference has a
    feature map of several places, else 0."""
    flip: bool = False
    """Flip training images horizontally at random."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Precision of training: float32, bfloat16 (automatic mixed precision) or auto (packed weights, docs/speed.md, and
    bfloat16 where the hardware has instructions for it)."""
    train_timesteps: Count = 1000
    """Number of timesteps T of the diffusion process."""
    beta_start: Positive = 1e-4
    """First beta of the linear noise schedule."""
    beta_end: Positive = 0.02
    """Last beta of the linear noise schedule: at least beta_start, below 1."""
    threads: Count = 2
    """Number of CPU threads in training, at most one per core. It is part of the configuration because sums depend on
    how they are split."""
    seed: Whole = 0
    """Seed of the initial weights and of training; the run's seed does not change them."""
