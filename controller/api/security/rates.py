"""How often one caller may ask. A fuse against programs that run away, and against guessing; not a quota.

Counted by each replica for itself, in memory.
"""

from paploss.controller.settings import Settings

BURST_SECONDS = 10.0
"""What has not been asked for so long may be asked at once."""
MAX_NAMES = 10_000


class RateLimit:
    """So many requests a second for each of any number of names, with a burst (the generic cell rate algorithm)."""

    def __init__(self, per_second: float, burst_seconds: float = BURST_SECONDS) -> None:
        self._interval_seconds = 1 / per_second
        self._burst_seconds = max(burst_seconds, self._interval_seconds)
        self._paid_until: dict[str, float] = {}  # when the name's requests so far would be through at the even rate

    def admit(self, name: str, now: float) -> float:
        """Count a request at `now` (any clock, in seconds). Returns 0, or after how many seconds to try again; a
        request that is not let in counts for nothing."""
        paid_until = max(self._paid_until.get(name, now), now) + self._interval_seconds
        wait_seconds = paid_until - self._burst_seconds - now
        if wait_seconds > 0:
            return wait_seconds
        self._paid_until[name] = paid_until
        if len(self._paid_until) > MAX_NAMES:
            self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        self._paid_until = {name: until for name, until in self._paid_until.items() if until > now}
        if len(self._paid_until) > MAX_NAMES // 2:  # so many at once are no callers of ours: memory goes first
            self._paid_until.clear()


class Rates:
    """The limits of one controller."""

    def __init__(self, settings: Settings) -> None:
        self.callers = RateLimit(settings.requests_per_second)
        """By name of the API key."""
        self.workers = RateLimit(settings.worker_requests_per_second)
        """By name of the API key, which all workers may share."""
        self.anonymous = RateLimit(settings.anonymous_requests_per_second)
        """By address: requests without a valid key, and those that need none. Whoever has a key is not held up by
        others who guess from the same address."""
