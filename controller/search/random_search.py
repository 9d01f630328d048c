"""The control: samples of the start policy, without learning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from paploss.controller.search.algorithm import Sample, check_samples
from paploss.controller.search.policy import PolicyState, Vector, sample
from paploss.controller.search.space import Space

SIGMA = 0.2


@dataclass(frozen=True)
class RandomSearch:
    """Every theta comes from the start policy: what a search finds by luck alone."""

    rounds: int = 40
    name: ClassVar[str] = "random"

    def initial_state(self, space: Space) -> PolicyState:
        return PolicyState(0, space.start(), SIGMA)

    def propose(self, state: PolicyState, seed: int, index: int) -> Vector:
        return sample(state, seed, index)

    def update(self, state: PolicyState, samples: Sequence[Sample]) -> PolicyState:
        check_samples(state, samples)
        return PolicyState(state.version + 1, state.mu, state.sigma)
