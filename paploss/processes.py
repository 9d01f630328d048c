"""Processes that are held together by Linux: parent-death signals and subreapers (prctl(2))."""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def ending_with_parent(number: int) -> Callable[[], None]:
    """A `preexec_fn` for subprocess: the kernel sends signal `number` to the child when its parent is gone.

    The parent is the thread that starts the child: start it from one that lives as long as the process, which then
    also holds after kill -9. To be called in the parent.
    """
    parent_pid = os.getpid()
    return lambda: end_with(parent_pid, number)


def end_with(parent_pid: int, number: int = signal.SIGKILL) -> None:
    """In a child: have the kernel send it signal `number` when its parent is gone.

    Args:
        parent_pid: the parent that is expected. A process with another one has lost its own before the call: the
            signal is sent at once.
        number: the signal.

    Raises:
        OSError: the kernel refuses the signal.
    """
    if _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_PDEATHSIG, {number}): {os.strerror(error)}")
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), number)


def become_subreaper() -> None:
    """Have every descendant that loses its parent become this process's own child (prctl(2))."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
