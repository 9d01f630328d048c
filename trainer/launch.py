"""Starting one process per GPU with torchrun, on behalf of a caller who knows of one process only.

torchrun works in this very process, whose children the ranks then are. It gives each a session of its own, so a signal
to the caller's process group reaches none of them: they watch for this process's end instead.
"""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Sequence

from jobs.spec import EXIT_HANDED_BACK

_PR_SET_PDEATHSIG = 1
_LAUNCHER_PID = "PAPLOSS_LAUNCHER_PID"
"""Environment variable of the ranks."""

log = logging.getLogger(__name__)


def run_on_gpus(arguments: Sequence[str], gpus: int) -> int:
    """Runs `python -m trainer` with `arguments` in `gpus` processes, which share standard output.

    SIGTERM is passed on. torchrun has one status for every kind of failure, so that of handing back is restored here.

    Returns:
        The exit status: 0, EXIT_HANDED_BACK or 1.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_HANDED_BACK))  # torchrun sets another when the ranks start
    from torch.distributed import run as torchrun  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415

    os.environ[_LAUNCHER_PID] = str(os.getpid())
    options = ["--standalone", f"--nproc-per-node={gpus}", "-m", "trainer", *arguments]
    try:
        torchrun.run(torchrun.parse_args(options))  # type: ignore[no-untyped-call]
    except SignalException:
        return EXIT_HANDED_BACK
    except ChildFailedError as error:
        log.error("%s", error)
        return 1
    return 0


def die_with_launcher() -> None:
    """In a rank: have the kernel kill this process when the launcher is gone, even by kill -9.

    Does nothing in a process that `run_on_gpus` did not start.
    """
    launcher_pid = os.environ.get(_LAUNCHER_PID)
    if launcher_pid is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(launcher_pid):  # it died before the line above took hold
        os.kill(os.getpid(), signal.SIGKILL)
