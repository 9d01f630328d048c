"""What the algorithms share that learn from the whole history: all but what they propose from it."""

from collections.abc import Sequence
from typing import Any, ClassVar

from paploss.controller.search.algorithm import Sample, check_samples
from paploss.controller.search.version_state import VersionState


class HistorySearch:
    """The functions of `paploss.controller.search.algorithm.Algorithm` that follow from a `VersionState`."""

    reads_history: ClassVar[bool] = True
    training_seeds: ClassVar[int | None] = 4

    def update(self, state: VersionState, samples: Sequence[Sample[VersionState]]) -> VersionState:
        """The next version: the samples are in the history from now on."""
        check_samples(state, state.space.dimension, samples)
        return VersionState(state.version + 1, state.space)

    def distribution(self, state: VersionState) -> None:  # noqa: ARG002
        """Where it proposes from follows from the history, and is no simple law."""
        return

    def dump(self, state: VersionState) -> dict[str, Any]:
        """Version and space."""
        return state.to_json()

    def load(self, document: dict[str, Any]) -> VersionState:
        """The inverse of `dump`."""
        return VersionState.from_json(document)
