"""A value that is expensive to find out and good for a moment."""

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """The last value, for so many seconds. Safe to use from several threads: one makes it, the others wait for it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._made_at = -math.inf
        self._value: Value | None = None

    @property
    def last(self) -> Value | None:
        """The last value, however old; none before the first."""
        return self._value

    def get(self, make: Callable[[], Value]) -> Value:
        """The value, made anew where it is too old. What `make` raises is not remembered."""
        with self._lock:
            if self._value is None or time.monotonic() - self._made_at >= self._seconds:
                self._value, self._made_at = make(), time.monotonic()
            return self._value
