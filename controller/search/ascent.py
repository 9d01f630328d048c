"""The ascent on a surrogate objective: a fresh Adam of 100 steps, as the published search does after each round."""

from collections.abc import Callable

import numpy as np

from paploss.controller.search.policy import location, logit
from paploss.controller.search.space import Vector

STEPS = 100
WARMUP_STEPS = 30
BETA_MEAN, BETA_SQUARE, EPSILON = 0.9, 0.999, 1e-8


def ascend(mu: Vector, slope: Callable[[Vector], Vector], learning_rate: float) -> Vector:
    """The location [D] that Adam reaches from `mu` [D] in m = logit(mu).

    Args: slope gives the derivative [D] of the objective with respect to mu, at a mu [D]. The learning rate rises
    linearly over 30 steps, the first of which has rate 0, and then falls linearly.
    """
    m = logit(mu)
    mean, square = np.zeros_like(m), np.zeros_like(m)
    for step in range(STEPS):
        here = location(m)
        gradient = slope(here) * here * (1 - here)
        mean = BETA_MEAN * mean + (1 - BETA_MEAN) * gradient
        square = BETA_SQUARE * square + (1 - BETA_SQUARE) * gradient**2
        corrected_mean = mean / (1 - BETA_MEAN ** (step + 1))
        corrected_square = square / (1 - BETA_SQUARE ** (step + 1))
        rate = learning_rate * _rate_multiplier(step)
        m = m + rate * corrected_mean / (np.sqrt(corrected_square) + EPSILON)
    return location(m)


def _rate_multiplier(step: int) -> float:
    return step / WARMUP_STEPS if step <= WARMUP_STEPS else 1 - (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS)
