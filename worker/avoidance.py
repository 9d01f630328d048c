"""Trials that a worker leaves to others for a while: their claims go unanswered, or they crash here."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from paploss.backoff import Backoff

_FIRST_SECONDS = 30.0
_LONGEST_SECONDS = 120.0


@dataclass
class _Avoided:
    backoff: Backoff
    until: float


class Avoidance:
    """What to avoid until when; longer each time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: in seconds."""
        self._clock = clock
        self._avoided: dict[str, _Avoided] = {}

    def add(self, trial_id: str) -> float:
        """Avoid a trial from now on; returns for how many seconds."""
        new = _Avoided(Backoff(_FIRST_SECONDS, _LONGEST_SECONDS, least_part=0.5), until=0)
        avoided = self._avoided.setdefault(trial_id, new)
        seconds = avoided.backoff.next_seconds()
        avoided.until = self._clock() + seconds
        return seconds

    def covers(self, trial_id: str) -> bool:
        """Whether a trial is to be avoided now."""
        avoided = self._avoided.get(trial_id)
        return avoided is not None and self._clock() < avoided.until

    def knows(self, trial_id: str) -> bool:
        """Whether a trial was ever avoided since it was forgotten."""
        return trial_id in self._avoided

    def forget(self, trial_id: str) -> None:
        """A trial got a definite answer."""
        self._avoided.pop(trial_id, None)
