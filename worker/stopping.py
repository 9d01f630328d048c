"""That this worker is to end, and the one deadline that everything in it keeps from then on."""

import threading
import time

_LEAVE_SECONDS = 8.0
"""After the trainers' grace: time to release leases, at a controller that may be slow, and to end."""


class Stopping:
    """Like an event that is set once; it knows since when."""

    def __init__(self, grace_seconds: float) -> None:
        """`grace_seconds`: what the trainers have from `set` on to leave a checkpoint."""
        self._grace_seconds = grace_seconds
        self._set = threading.Event()
        self._set_at = float("inf")

    def set(self) -> None:
        """Have this worker end. Callable from a signal's handler, for the main thread never waits in here."""
        if not self._set.is_set():
            self._set_at = time.monotonic()
            self._set.set()

    def is_set(self) -> bool:
        """Whether this worker is to end."""
        return self._set.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for so long at most; whether this worker is to end."""
        return self._set.wait(seconds)

    @property
    def kill_at(self) -> float:
        """Monotonic time at which a trainer that is still there is killed; infinite until `set`."""
        return self._set_at + self._grace_seconds

    @property
    def leave_at(self) -> float:
        """Monotonic time at which the process ends, whatever it waits for then; infinite until `set`."""
        return self.kill_at + _LEAVE_SECONDS
