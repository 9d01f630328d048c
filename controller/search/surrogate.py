"""The clipped surrogate objective of the search, and the ascent that maximises it.

symbol  meaning                                                                shape
A       advantage of each sample: its reward minus the mean                    [n]
r_d     density ratio new / old of a sample in dimension d                     [n, D]
J(m)    mean over samples of min(A prod_d r_d, A prod_d clip(r_d, 1 -+ eps)): the clip is per dimension

Source: the clipped objective of Schulman et al., 2017 (PPO), with the per-dimension clip and the schedule of the
Parameterized AP Loss search.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from controller.search.policy import Vector, location, log_density, log_density_slope, logit

CLIP = 0.1
STEPS = 100
WARMUP_STEPS = 30
BETA_MEAN, BETA_SQUARE, EPSILON = 0.9, 0.999, 1e-8
# Far above anything that the minimum can select, and far below what overflows.
_LARGEST_LOG_RATIO = 500.0


def advantages(rewards: Sequence[float]) -> NDArray[np.float64]:
    """Reward minus mean, [n]; exactly 0 for equal rewards, whose rounded mean may differ from them in the last bit."""
    values = np.asarray(rewards, dtype=np.float64)
    return np.zeros_like(values) if np.ptp(values) == 0 else values - values.mean()


def ascend(
    mu: Vector,
    *,
    theta: NDArray[np.float64],
    advantage: NDArray[np.float64],
    old_log_density: NDArray[np.float64],
    sigma: Vector | float,
    learning_rate: float,
) -> Vector:
    """The mu [D] after 100 steps of a fresh Adam on J from `mu` [D].

    Args: theta [n, D] in [0, 1]; advantage [n]; old_log_density [n, D]; sigma of the new density, a number or
    [n, 1].
    The learning rate rises over 30 steps, the first of which has rate 0, and then falls linearly.
    """
    m = logit(mu)
    mean, square = np.zeros_like(m), np.zeros_like(m)
    for step in range(STEPS):
        gradient = _slope(m, theta, advantage, old_log_density, sigma)
        mean = BETA_MEAN * mean + (1 - BETA_MEAN) * gradient
        square = BETA_SQUARE * square + (1 - BETA_SQUARE) * gradient**2
        corrected_mean = mean / (1 - BETA_MEAN ** (step + 1))
        corrected_square = square / (1 - BETA_SQUARE ** (step + 1))
        rate = learning_rate * _rate_multiplier(step)
        m = m + rate * corrected_mean / (np.sqrt(corrected_square) + EPSILON)
    return location(m)


def _rate_multiplier(step: int) -> float:
    return step / WARMUP_STEPS if step <= WARMUP_STEPS else 1 - (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS)


def _slope(
    m: Vector,
    theta: NDArray[np.float64],
    advantage: NDArray[np.float64],
    old_log_density: NDArray[np.float64],
    sigma: Vector | float,
) -> Vector:
    """dJ/dm [D]."""
    mu = location(m)
    log_ratio = log_density(theta, mu, sigma) - old_log_density
    low, high = np.log1p(-CLIP), np.log1p(CLIP)
    clipped_log_ratio = np.clip(log_ratio, low, high)
    product = advantage * np.exp(np.minimum(log_ratio.sum(axis=1), _LARGEST_LOG_RATIO))
    clipped_product = advantage * np.exp(clipped_log_ratio.sum(axis=1))
    # The minimum selects one product per sample; a clipped dimension of the clipped product has no slope.
    # Where no dimension is clipped the two are the same number with the same slope.
    inside = (log_ratio >= low) & (log_ratio <= high)
    takes_clipped = clipped_product < product
    weight = np.where(takes_clipped, clipped_product, product)[:, None] * np.where(takes_clipped[:, None], inside, True)
    slope_mu = (weight * log_density_slope(theta, mu, sigma)).mean(axis=0)
    return np.asarray(slope_mu * mu * (1 - mu))
