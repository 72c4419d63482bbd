"""Mode guidance (MGD3, ICML 2025): pull each sample to a mode of its class."""

import numpy as np
import torch
from torch import Tensor

from lgd.config import ModesConfig
from lgd.diffusion.sampler import predicted
from lgd.diffusion.types import Denoiser, Prediction, Step


def find_modes(latents: Tensor, count: int, seed: int) -> Tensor:
    """Return k-means centroids (count, C, H, W) of one class's latents (N, C, H, W), the largest cluster first.

    The order is ours: the first increments of a growing set take the most common modes. count is at most N.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # sums depend on the number of threads
        found = KMeans(count, n_init=1, random_state=seed % 2**32).fit(latents.flatten(1).double().numpy())
    sizes = np.bincount(found.labels_, minlength=count)
    order = np.argsort(-sizes, kind="stable")
    return torch.from_numpy(found.cluster_centers_[order]).to(latents.dtype).view(count, *latents.shape[1:])


def posterior_deviation(prediction: Prediction, step: Step) -> Tensor:
    """Return sigma_t, the standard deviation of DDPM's posterior: a scalar or, with learned variance, (B, C, H, W).

    With beta = 1 - abar_t / abar_{t-1} the variance is beta (1 - abar_{t-1}) / (1 - abar_t); a learned one lies between
    that (at -1) and beta (at 1), in logarithms (Nichol and Dhariwal, 2021).
    """
    beta = prediction.eps.new_tensor(1 - step.alpha_bar / step.alpha_bar_after)
    small = beta * (1 - step.alpha_bar_after) / (1 - step.alpha_bar)
    if prediction.variance is None:
        return small.sqrt()
    share = (prediction.variance + 1) / 2
    return (0.5 * (share * beta.log() + (1 - share) * small.log())).exp()


def mode_guided(inner: Denoiser, modes: Tensor, config: ModesConfig) -> Denoiser:
    """Wrap a denoiser so that samples are pulled to `modes` (B, C, H, W) while the step's index is above `stop`.

    x_{t-1} -= strength sigma_t (x0hat - m), on any scheduler.
    """

    def guided(x_t: Tensor, step: Step) -> Prediction:
        prediction = predicted(inner, x_t, step)
        if config.strength == 0 or step.index <= config.stop:
            return prediction
        sigma = posterior_deviation(prediction, step)
        return prediction.shifted(-config.strength * sigma * (prediction.x0 - modes))

    return guided
