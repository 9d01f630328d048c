"""Stands between a worker and its trainer, so that no trainer outlives its worker, however the worker dies.

Run as a script, `python guard.py FD COMMAND...`, in a session of its own. FD is the read end of a pipe whose only
write end the worker holds. The guard starts COMMAND in its own process group and waits until

- COMMAND ends: the guard ends with the same status, or 128 + n where signal n ended it, as a shell does;
- SIGTERM comes: it is passed on to COMMAND alone, which deals with its own helpers (torchrun's ranks, data loaders);
- the pipe closes, which the kernel sees to even after kill -9 of the worker: the whole process group is killed.

If the guard itself is killed, the kernel kills COMMAND (parent-death signal) and the worker the rest of the group.
Standard library only: it starts in some 15 ms and holds 8 MB.
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1


def _die_with(guard_pid: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard_pid:  # the guard died before the line above took hold
        os.kill(os.getpid(), signal.SIGKILL)


def run(lifeline_fd: int, command: list[str]) -> int:
    """Run `command` for as long as the lifeline is open; returns its status as `subprocess` gives it."""
    signals_fd, wakeup_fd = os.pipe()
    os.set_blocking(wakeup_fd, False)
    signal.set_wakeup_fd(wakeup_fd)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # they arrive as bytes in the pipe, none is lost before the loop runs
    guard_pid = os.getpid()
    child = subprocess.Popen(command, preexec_fn=lambda: _die_with(guard_pid))  # noqa: PLW1509 (there is one thread)
    with selectors.DefaultSelector() as selector:
        selector.register(signals_fd, selectors.EVENT_READ)
        selector.register(lifeline_fd, selectors.EVENT_READ)
        while child.poll() is None:
            for key, _ in selector.select():
                received = os.read(key.fd, 512)
                if not received:
                    os.killpg(0, signal.SIGKILL)
                elif key.fd == signals_fd and signal.SIGTERM in received:
                    child.terminate()
    return child.returncode


if __name__ == "__main__":
    status = run(int(sys.argv[1]), sys.argv[2:])
    sys.exit(status if status >= 0 else 128 - status)
