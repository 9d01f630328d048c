"""The published search program, reproduced with its defects, for comparison.

symbol  meaning                                                                              shape
A       advantage of each sample: its reward minus the mean                                  [n]
r_d     density ratio new / old of a sample in dimension d                                   [n, D]
J(mu)   mean over samples of min(A prod_d r_d, A prod_d clip(r_d, 0.9, 1.1))                 scalar

Source: Tao et al., NeurIPS 2021, and the numbers that their program prints (tests/golden/policy.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paploss.controller.search.algorithm import Sample, advantages, check_samples
from paploss.controller.search.ascent import ascend
from paploss.controller.search.policy import PolicyState, log_density, log_density_and_slope
from paploss.controller.search.policy_search import PolicySearch
from paploss.controller.search.space import Space, Vector

LEARNING_RATE = 0.01
FIRST_SIGMA = 0.2
CLIP = 0.1
# The ratio of a bad sample is not clipped from above. Past e^100 its size is immaterial, and its square overflows.
_LARGEST_LOG_RATIO = 100.0


@dataclass(frozen=True)
class Paper(PolicySearch):
    """The update of the authors' program over `rounds` rounds; for `round` mode.

    Kept as it was: the old density of a sample uses the sigma of its proposal, the new one the sigma of the next
    round, so that their ratio is not 1 at an unchanged mu and the last rounds learn next to nothing. (What the program
    did outside the update, such as ignoring the sampled gradient scales, is not reproduced.)
    """

    rounds: int = 40

    def initial_state(self, space: Space) -> PolicyState:
        # The program starts from constants of four decimals.
        return PolicyState(0, np.round(space.start(), 4), FIRST_SIGMA)

    def update(self, state: PolicyState, samples: Sequence[Sample[PolicyState]]) -> PolicyState:
        check_samples(state, state.mu.size, samples)
        done = state.version + 1
        sigma = FIRST_SIGMA * (self.rounds - done) / self.rounds if done < self.rounds else state.sigma
        theta = np.stack([s.theta for s in samples])
        proposers = [s.proposed_by or state for s in samples]
        old = np.stack([log_density(s.theta, by.mu, by.sigma) for s, by in zip(samples, proposers, strict=True)])
        advantage = advantages(samples)
        mu = ascend(
            state.mu, lambda mu: product_slope(mu, theta, advantage, old, sigma=sigma, clip=CLIP), LEARNING_RATE
        )
        return PolicyState(done, mu, sigma)


def product_slope(
    mu: Vector,
    theta: NDArray[np.float64],
    advantage: NDArray[np.float64],
    old: NDArray[np.float64],
    *,
    sigma: float,
    clip: float,
) -> Vector:
    """dJ/dmu [D]. Args: theta [n, D], advantage [n], old log densities [n, D], sigma of the new density, clip."""
    density, slope = log_density_and_slope(theta, mu, sigma)
    log_ratio = density - old
    low, high = np.log1p(-clip), np.log1p(clip)
    product = advantage * np.exp(np.minimum(log_ratio.sum(axis=1), _LARGEST_LOG_RATIO))
    clipped_product = advantage * np.exp(np.clip(log_ratio, low, high).sum(axis=1))
    takes_clipped = (clipped_product < product)[:, None]
    # A clipped dimension of the clipped product has no slope. With nothing clipped both products are one number.
    inside = (log_ratio >= low) & (log_ratio <= high)
    weight = np.minimum(product, clipped_product)[:, None] * (inside | ~takes_clipped)
    return np.asarray((weight * slope).mean(axis=0), dtype=np.float64)
