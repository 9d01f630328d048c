"""Pauses between repetitions."""


class Backoff:
    """Pauses that double, from the first to the longest."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._next_seconds = min(first_seconds, longest_seconds)
        self._longest_seconds = longest_seconds

    def next_seconds(self) -> float:
        """The next pause."""
        seconds = self._next_seconds
        self._next_seconds = min(2 * seconds, self._longest_seconds)
        return seconds
