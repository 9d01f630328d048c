"""Starting one process per GPU with torchrun, on behalf of a caller who knows of one process only.

torchrun works in this very process, whose children the ranks then are. It gives each a session of its own, so a signal
to the caller's process group reaches none of them: they watch for this process's end instead.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from paploss.files import whole_file
from paploss.jobs.spec import EXIT_INTERRUPTED, JobResult
from paploss.processes import end_with
from paploss.trainer.events import claim_stdout

_LAUNCHER_PID = "PAPLOSS_LAUNCHER_PID"
_FAILURES = "PAPLOSS_FAILURES"
"""Environment variables of the ranks; the latter names a folder for the results of those that fail."""

log = logging.getLogger(__name__)


def run_on_gpus(arguments: Sequence[str], gpus: int) -> int:
    """Runs `python -m paploss.trainer` with `arguments` in `gpus` processes, which share standard output.

    SIGTERM is passed on. torchrun has one status for every kind of failure: that of an interruption is restored here.
    Of the failures of ranks, the root cause is reported as the result.

    Returns:
        The exit status: 0 with a result, EXIT_INTERRUPTED, or 1 where no rank that failed left a result.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_INTERRUPTED))  # torchrun sets another when the ranks start
    from torch.distributed import run as torchrun  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415

    os.environ[_LAUNCHER_PID] = str(os.getpid())
    options = ["--standalone", f"--nproc-per-node={gpus}", "-m", "paploss.trainer", *arguments]
    with tempfile.TemporaryDirectory(prefix="paploss-ranks-") as folder:
        os.environ[_FAILURES] = folder
        try:
            torchrun.run(torchrun.parse_args(options))  # type: ignore[no-untyped-call]
        except SignalException:
            return EXIT_INTERRUPTED
        except ChildFailedError as error:
            log.error("%s", error)
            failure = _root_failure(Path(folder))
            if failure is None:
                return 1
            claim_stdout()(failure)
    return 0


def leave_failure(result: JobResult) -> bool:
    """In a rank: leaves the result of its failure to the launcher, which alone sees those of all ranks.

    Returns:
        False in a process that `run_on_gpus` did not start.
    """
    folder = os.environ.get(_FAILURES)
    if folder is None:
        return False
    with whole_file(Path(folder) / f"{os.environ['RANK']}.json") as file:
        file.write(result.model_dump_json().encode())
    return True


def _root_failure(folder: Path) -> JobResult | None:
    """The first failure that was left, preferably no crash: a rank may crash because another one failed."""
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    failures = [JobResult.model_validate_json(file.read_bytes()) for file in files]
    return min(failures, key=lambda failure: failure.error_kind == "crash", default=None)


def die_with_launcher() -> None:
    """In a rank: have the kernel kill this process when the launcher ends, even by kill -9.

    Does nothing in a process that `run_on_gpus` did not start.
    """
    launcher_pid = os.environ.get(_LAUNCHER_PID)
    if launcher_pid is not None:
        end_with(int(launcher_pid))
