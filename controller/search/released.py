"""The published search program, reproduced for comparison, with its defects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from controller.search.algorithm import Sample, check_samples
from controller.search.policy import PolicyState, Vector, log_density, sample
from controller.search.space import Space
from controller.search.surrogate import advantages, ascend

LEARNING_RATE = 0.01
FIRST_SIGMA = 0.2


@dataclass(frozen=True)
class Released:
    """The update of the authors' program over `rounds` rounds; for `round` mode.

    Kept as it was: the old density of a sample uses the sigma of its proposal, the new one the sigma of the next
    round, so that their ratio is not 1 at an unchanged mu and the last rounds learn next to nothing. (What the program
    did outside the update, such as ignoring the sampled gradient scales, is not reproduced.)
    """

    rounds: int = 40
    name: ClassVar[str] = "released"

    def initial_state(self, space: Space) -> PolicyState:
        # The program starts from constants of four decimals.
        return PolicyState(0, np.round(space.start(), 4), FIRST_SIGMA)

    def propose(self, state: PolicyState, seed: int, index: int) -> Vector:
        return sample(state, seed, index)

    def update(self, state: PolicyState, samples: Sequence[Sample]) -> PolicyState:
        check_samples(state, samples)
        done = state.version + 1
        sigma = FIRST_SIGMA * (self.rounds - done) / self.rounds if done < self.rounds else state.sigma
        theta = np.stack([s.theta for s in samples])
        old = np.stack([log_density(s.theta, s.proposed_by.mu, s.proposed_by.sigma) for s in samples])
        mu = ascend(
            state.mu,
            theta=theta,
            advantage=advantages([s.reward for s in samples]),
            old_log_density=old,
            sigma=sigma,
            learning_rate=LEARNING_RATE,
        )
        return PolicyState(done, mu, sigma)
