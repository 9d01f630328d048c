"""Processes that are held together by Linux: parent-death signals and subreapers (prctl(2)). Standard library only."""

import ctypes
import os
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None)


def ending_with_parent(number: int) -> Callable[[], None]:
    """A `preexec_fn` for subprocess: the kernel sends signal `number` to the child when its parent is gone.

    The parent is the thread that starts the child: start it from one that lives as long as the process, which then
    also holds after kill -9. To be called in the parent.
    """
    parent_pid = os.getpid()

    def ask_kernel() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent_pid:  # the parent died before the line above took hold
            os.kill(os.getpid(), number)

    return ask_kernel


def become_subreaper() -> None:
    """Have every descendant that loses its parent become this process's own child (prctl(2))."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
