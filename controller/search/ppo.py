"""The published update with its defects fixed.

symbol  meaning                                                                              shape
A       advantage of each sample: its reward minus the mean                                  [n]
q_d     density ratio of a sample, mu / the policy's current mu, both at the sample's sigma  [n, D]
w_d     density ratio of a sample, current mu / the mu that proposed it, at most 1           [n, D]
J(mu)   mean over samples of sum_d w_d min(A q_d, A clip(q_d, 0.6, 1.4))                     scalar

What differs from the published update (`paper.py`), and why
- One sigma in both densities of a ratio. There the new density already had the next round's smaller sigma: the ratio
  was not 1 at an unchanged mu, drifted with |theta - mu| instead of with what was learnt, and vanished in the last ten
  of forty rounds. By itself this fix changes little in simulated searches, because most is learnt before.
- A sum over dimensions instead of a product. The policy's dimensions are independent, so each may have its own clipped
  term. With the product one lucky sample's weight grows with every dimension until it alone decides, and a clip wider
  than 0.1 makes that worse. The sum gains with a clip of 0.4, and this is where most of the improvement comes from.
- sigma falls to half, not to a fortieth. The last rounds still see differences above the noise of a training, so they
  still learn; mu, which is what a search is for, ends as good or better.
- The sampled gradient scales reach the heads (the platform's part), so their dimensions are no longer noise.
- Samples of earlier versions (`stream` mode) are weighted by their own old densities, and the clip is about the current
  mu and not about the one they came from; clipped about the latter, a sample has nothing left to say once mu has moved.

Advantages are not divided by their spread: Adam's steps do not depend on the scale of the objective. Measured over
simulated searches in `benchmarks/search.py`, results beside it.

Sources: Schulman et al., 2017 (the clipped objective); Hilton et al., 2022 (clipping about the current policy);
Espeholt et al., 2018 (truncated weights).
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

# The ratio of a bad sample is not clipped from above. Past e^100 its size is immaterial, and its square overflows.
_LARGEST_LOG_RATIO = 100.0


@dataclass(frozen=True)
class Ppo(PolicySearch):
    """Proximal policy optimisation over `rounds` updates; for `round` and `stream` mode.

    A sample more than `max_staleness` versions old, or that no policy proposed, is left out. An update that has fewer
    than 2 others moves the version and sigma on and leaves mu where it is.
    """

    rounds: int = 40
    first_sigma: float = 0.2
    last_sigma: float = 0.1
    clip: float = 0.4
    learning_rate: float = 0.01
    max_staleness: int = 16

    def initial_state(self, space: Space) -> PolicyState:
        return PolicyState(0, space.start(), self.first_sigma)

    def update(self, state: PolicyState, samples: Sequence[Sample[PolicyState]]) -> PolicyState:
        check_samples(state, state.mu.size, samples)
        done = state.version + 1
        known = [(s, s.proposed_by) for s in samples if s.proposed_by is not None]
        fresh = [(s, by) for s, by in known if state.version - by.version <= self.max_staleness]
        mu = self._learn(state.mu, fresh) if len(fresh) >= 2 else state.mu
        share = min(done / max(self.rounds - 1, 1), 1.0)
        return PolicyState(done, mu, self.first_sigma + share * (self.last_sigma - self.first_sigma))

    def _learn(self, current: Vector, fresh: Sequence[tuple[Sample[PolicyState], PolicyState]]) -> Vector:
        theta = np.stack([s.theta for s, _ in fresh])
        sigma = np.array([[by.sigma] for _, by in fresh])
        proposed = log_density(theta, np.stack([by.mu for _, by in fresh]), sigma)
        anchor = log_density(theta, current, sigma)
        weight = advantages([s for s, _ in fresh])[:, None] * np.exp(np.minimum(anchor - proposed, 0.0))
        return ascend(current, lambda mu: self._slope(mu, theta, sigma, anchor, weight), self.learning_rate)

    def _slope(
        self,
        mu: Vector,
        theta: NDArray[np.float64],
        sigma: NDArray[np.float64],
        anchor: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> Vector:
        """dJ/dmu [D]; sigma [n, 1], anchor (log density at the current mu) and weight (A w_d) [n, D]."""
        density, slope = log_density_and_slope(theta, mu, sigma)
        log_ratio = density - anchor
        # The minimum takes the clipped, constant term where a good sample has gained enough or a bad one lost enough.
        climbs = np.where(weight > 0, log_ratio <= np.log1p(self.clip), log_ratio >= np.log1p(-self.clip))
        ratio = np.exp(np.minimum(log_ratio, _LARGEST_LOG_RATIO))
        return np.asarray((weight * ratio * climbs * slope).mean(axis=0))
