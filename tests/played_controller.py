"""A controller that answers a worker by a script, and a time that passes only while the worker waits.

For the worker's timing policies: which answer leads to which pause. What a real controller answers is tested with one.
"""

from collections.abc import Callable
from typing import Any

from paploss.worker.stopping import Stopping


class PlayedTime(Stopping):
    """A clock, and the worker's stop, whose `wait` lets the clock run instead of waiting."""

    def __init__(self, stop_at: float = float("inf")) -> None:
        """`stop_at`: when the worker is told to end."""
        super().__init__(grace_seconds=1)
        self.now = 0.0
        self.waits: list[float] = []
        self._stop_at = stop_at

    def clock(self) -> float:
        """Seconds since the start."""
        return self.now

    def wait(self, seconds: float) -> bool:
        """Let so much time pass at once; whether this worker is to end."""
        self.waits.append(seconds)
        self.now += seconds
        if self.now >= self._stop_at:
            self.set()
        return self.is_set()


class PlayedController:
    """Answers claims and results by `answer`, which gets the trial's id and returns an answer or raises an error."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        """Trials, in the order of the requests."""
        self.requests: list[Any] = []

    def claim(self, request: Any) -> Any:
        """A lease, or an error."""
        return self._answer(request)

    def renew(self, request: Any) -> Any:
        """A command, or an error."""
        return self._answer(request)

    def release(self, request: Any) -> Any:
        """That a release is accepted, or an error."""
        return self._answer(request)

    def report(self, request: Any) -> Any:
        """That a result is accepted, or an error."""
        return self._answer(request)

    def _answer(self, request: Any) -> Any:
        self.asked.append(request.trial_id)
        self.requests.append(request)
        return self.answer(request.trial_id)
