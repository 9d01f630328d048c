"""What the algorithms share whose state is a truncated normal: all but how they learn."""

from typing import Any, ClassVar

from paploss.controller.search.algorithm import NOTHING_KNOWN, Distribution, History
from paploss.controller.search.policy import PolicyState, mean, sample
from paploss.controller.search.space import Vector


class PolicySearch:
    """The functions of `paploss.controller.search.algorithm.Algorithm` that follow from a `PolicyState`."""

    reads_history: ClassVar[bool] = False
    training_seeds: ClassVar[int | None] = None

    def propose(
        self,
        state: PolicyState,
        seed: int,
        index: int,
        history: History = NOTHING_KNOWN,  # noqa: ARG002
        *,
        screened: bool = False,  # noqa: ARG002
    ) -> Vector:
        """A sample of the policy."""
        return sample(state, seed, index)

    def best_guess(self, state: PolicyState, history: History = NOTHING_KNOWN) -> Vector:  # noqa: ARG002
        """The mean of the truncated law; near an end of [0, 1] its location is a point that no trial was near."""
        return mean(state)

    def distribution(self, state: PolicyState) -> Distribution:
        """The location and the scale."""
        return Distribution(state.mu, state.sigma)

    def dump(self, state: PolicyState) -> dict[str, Any]:
        """Version, mu and sigma."""
        return state.to_json()

    def load(self, document: dict[str, Any]) -> PolicyState:
        """The inverse of `dump`."""
        return PolicyState.from_json(document)
