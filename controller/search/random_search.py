"""The baseline: samples of the start policy, without learning."""

from collections.abc import Sequence
from dataclasses import dataclass

from paploss.controller.search.algorithm import NOTHING_KNOWN, History, Sample, check_samples
from paploss.controller.search.policy import PolicyState
from paploss.controller.search.policy_search import PolicySearch
from paploss.controller.search.space import Space, Vector


@dataclass(frozen=True, kw_only=True)
class RandomSearch(PolicySearch):
    """Every theta comes from the start policy: what a search finds by luck alone."""

    sigma: float = 0.2

    def initial_state(self, space: Space) -> PolicyState:
        return PolicyState(0, space.start(), self.sigma)

    def best_guess(self, state: PolicyState, history: History = NOTHING_KNOWN) -> Vector:
        """The best sample: nothing is learned that would be better."""
        best = max(history.finished, key=lambda each: (each.length, each.reward), default=None)
        return state.mu if best is None else best.theta

    def update(self, state: PolicyState, samples: Sequence[Sample[PolicyState]]) -> PolicyState:
        check_samples(state, state.mu.size, samples)
        return PolicyState(state.version + 1, state.mu, state.sigma)
