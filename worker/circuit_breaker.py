"""A circuit breaker for a slot whose trainings crash before their first step: the machine may be to blame.

Such a worker, with a broken GPU say, would claim and crash one trial a second while the others train for hours, and
spend the budgets of a whole search. So it claims nothing for a while, longer each time, and other workers have the
trials.
"""

from paploss.backoff import Backoff

_SUSPICIOUS_TRIALS = 2
"""Of one trial alone, the trial may be to blame."""
_FIRST_PAUSE_SECONDS = 10.0


class CircuitBreaker:
    """Counts for one slot, since its last training that made a step."""

    def __init__(self, longest_pause_seconds: float) -> None:
        self._longest_pause_seconds = longest_pause_seconds
        self.reset()

    def reset(self) -> None:
        """A training has made a step: this machine can train."""
        self._trial_ids: set[str] = set()
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, self._longest_pause_seconds, least_part=0.5)

    def record_failure(self, trial_id: str) -> float:
        """A training crashed before its first step. Returns for how many seconds to claim nothing."""
        self._trial_ids.add(trial_id)
        return self._backoff.next_seconds() if len(self._trial_ids) >= _SUSPICIOUS_TRIALS else 0.0
