"""A cache for one value that is expensive to compute and valid for a short time."""

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """The last value, for a number of seconds. Thread-safe: one thread computes it, the others wait."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._made_at = -math.inf
        self._value: Value | None = None

    @property
    def last(self) -> Value | None:
        """The last value, however old; None before the first."""
        return self._value

    def get(self, make: Callable[[], Value]) -> Value:
        """The value, computed again where it is too old. Errors of `make` are not cached."""
        with self._lock:
            if self._value is None or time.monotonic() - self._made_at >= self._seconds:
                self._value, self._made_at = make(), time.monotonic()
            return self._value
