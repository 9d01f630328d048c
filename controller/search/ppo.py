"""The default search: the published update with its defects mended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from controller.search.algorithm import Sample, check_samples
from controller.search.policy import PolicyState, Vector, log_density, sample
from controller.search.space import Space
from controller.search.surrogate import advantages, ascend


@dataclass(frozen=True)
class Ppo:
    """Proximal policy optimisation over `rounds` updates; for `round` and `stream` mode."""

    rounds: int = 40
    first_sigma: float = 0.2
    last_sigma: float = 0.05
    learning_rate: float = 0.01
    max_staleness: int = 16
    name: ClassVar[str] = "ppo"

    def initial_state(self, space: Space) -> PolicyState:
        return PolicyState(0, space.start(), self.first_sigma)

    def propose(self, state: PolicyState, seed: int, index: int) -> Vector:
        return sample(state, seed, index)

    def update(self, state: PolicyState, samples: Sequence[Sample]) -> PolicyState:
        check_samples(state, samples)
        done = state.version + 1
        fresh = [s for s in samples if state.version - s.proposed_by.version <= self.max_staleness]
        mu = self._learn(state, fresh) if len(fresh) >= 2 else state.mu
        share = min(done / max(self.rounds - 1, 1), 1.0)
        return PolicyState(done, mu, self.first_sigma + share * (self.last_sigma - self.first_sigma))

    def _learn(self, state: PolicyState, samples: Sequence[Sample]) -> Vector:
        sigma = np.array([[s.proposed_by.sigma] for s in samples])
        theta = np.stack([s.theta for s in samples])
        old_mu = np.stack([s.proposed_by.mu for s in samples])
        return ascend(
            state.mu,
            theta=theta,
            advantage=advantages([s.reward for s in samples]),
            old_log_density=log_density(theta, old_mu, sigma),
            sigma=sigma,
            learning_rate=self.learning_rate,
        )
