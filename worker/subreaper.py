"""The subreaper between a worker and its trainer: no process of a training outlives its worker, however that dies.

Run as a script, `python subreaper.py FD COMMAND...`, in a session of its own. FD is the read end of a pipe whose only
write end the worker holds. It starts COMMAND and waits until

- COMMAND ends: what it left behind is killed, and the subreaper ends with the same status, or 128 + n where signal n
  ended it, as a shell does;
- SIGTERM comes: it is passed on to COMMAND alone, which deals with its own helpers (torchrun's ranks, data loaders);
- the pipe closes, because the worker wants the training killed or is itself gone, even by kill -9: all is killed.

Process groups do not hold a training together: torchrun starts each rank in a session of its own. A process that
loses its parent becomes the subreaper's child (prctl(2)), so killing its children until it
has none ends every descendant, and the kernel says when there is none left.

If the subreaper itself is killed, the kernel kills COMMAND (parent-death signal), for its part a launcher's ranks
(`trainer/launch.py`), and the worker kills the rest of the process group. Standard library only: it starts in some
15 ms and holds 8 MB.
"""

import os
import selectors
import signal
import subprocess
import sys
import time

# Run by its path, isolated and without site-packages: what it needs of the package is found beside it.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from paploss.processes import become_subreaper, ending_with_parent

_KILL_SECONDS = 10.0
"""A process that outlives SIGKILL for so long hangs in the kernel, in a stuck driver say, where nobody can end it."""
_LOOK_SECONDS = 0.01


def run(lifeline_fd: int, command: list[str]) -> int:
    """Run `command` for as long as the lifeline is open; returns its status as `subprocess` gives it."""
    signals_fd, wakeup_fd = os.pipe()
    os.set_blocking(wakeup_fd, False)
    signal.set_wakeup_fd(wakeup_fd)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # they arrive as bytes in the pipe, none is lost before the loop runs
    become_subreaper()
    child = subprocess.Popen(command, preexec_fn=ending_with_parent(signal.SIGKILL))  # noqa: PLW1509 (one thread)
    with selectors.DefaultSelector() as selector:
        selector.register(signals_fd, selectors.EVENT_READ)
        selector.register(lifeline_fd, selectors.EVENT_READ)
        while child.poll() is None:
            for key, _ in selector.select():
                received = os.read(key.fd, 512)
                if not received:
                    _kill_descendants()
                    return -signal.SIGKILL
                if key.fd == signals_fd and signal.SIGTERM in received:
                    child.terminate()
    _kill_descendants()
    return child.returncode


def _kill_descendants() -> None:
    """Kill and reap children until there are none; those of a killed one become this process's own meanwhile."""
    give_up_at = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < give_up_at:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for pid in _children():
            os.kill(pid, signal.SIGKILL)  # its number is nobody else's before it is reaped above
        time.sleep(_LOOK_SECONDS)


def _children() -> list[int]:
    own_pid = os.getpid()
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                stat = file.read()
        except OSError:  # it has ended
            continue
        parent_pid = int(stat.rpartition(b")")[2].split()[1])  # after the name, which may hold anything
        if parent_pid == own_pid:
            found.append(int(name))
    return found


if __name__ == "__main__":
    status = run(int(sys.argv[1]), sys.argv[2:])
    sys.exit(status if status >= 0 else 128 - status)
