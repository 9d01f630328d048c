"""Processes that do not outlive the one that started them."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with(parent_pid: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends, even by kill -9; see prctl(2).

    To be called by the child: after a fork it is lost, and over exec it is kept. It follows the parent's thread that
    forked, so that thread must last.

    Args:
        parent_pid: the parent that is expected. If this process has another one, its own has ended before the call,
            and the signal is sent now.
        number: the signal.

    Raises:
        OSError: the kernel refuses.
    """
    if _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_PDEATHSIG, {number}): {os.strerror(error)}")
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), number)
