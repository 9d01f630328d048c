"""Pauses between repetitions of a request: exponential back-off with jitter.

A thousand workers that lost the same controller at the same moment would, with equal pauses, come back at the same
moments too. So each pause is drawn anew below a ceiling that doubles (full jitter: Brooker, "Exponential Backoff And
Jitter", AWS Architecture Blog, 2015).
"""

import random


class Backoff:
    """Pauses, each drawn evenly between a part of a ceiling and the ceiling, which doubles up to the longest."""

    def __init__(self, first_seconds: float, longest_seconds: float, least_part: float = 0.0) -> None:
        """`least_part`: of the ceiling, in [0, 1]; more than 0 where a pause must not be cut to nothing by chance."""
        self._ceiling_seconds = min(first_seconds, longest_seconds)
        self._longest_seconds = longest_seconds
        self._least_part = least_part

    def next_seconds(self) -> float:
        """The next pause."""
        ceiling_seconds = self._ceiling_seconds
        self._ceiling_seconds = min(2 * ceiling_seconds, self._longest_seconds)
        return random.uniform(self._least_part, 1) * ceiling_seconds
