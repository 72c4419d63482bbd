"""Guidance: functions that take a denoiser and return a denoiser, and the sampler that knows none of them.

A denoiser is any function (x_t, step) -> Prediction; `denoiser_of` makes one of a network. `sample` runs it:

    guided = lgd.guidance.learnability_guided(denoiser, score, lgd.GuidanceConfig(strength=0.3, window=(0, 49)))
    images = lgd.guidance.sample(guided, scheduler, noise)
"""

from lgd.diffusion.sampler import denoiser_of, sample, steps_of
from lgd.diffusion.types import Denoiser, Prediction, Step

from .classifier_free import classifier_free
from .deviation import deviation_guided
from .learnability import Score, in_window, learnability, learnability_guided, mean_loss, score_gradient
from .modes import find_modes, mode_guided
from .vectors import along_noise, along_sample
