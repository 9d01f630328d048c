"""Starting one process per GPU with torchrun, on behalf of a caller who knows of one process only."""

import signal
import subprocess
import sys
from collections.abc import Sequence

from jobs.spec import EXIT_HANDED_BACK


def run_on_gpus(arguments: Sequence[str], gpus: int) -> int:
    """Runs `python -m trainer` with `arguments` in `gpus` processes, which share standard output.

    SIGTERM is passed on. torchrun has one status for every kind of failure, so that of handing back is restored here.

    Returns:
        The exit status: 0, EXIT_HANDED_BACK or 1.
    """
    stop_signals: list[int] = []
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
    child = subprocess.Popen([*command, "-m", "trainer", *arguments])

    def pass_on(number: int, _: object) -> None:
        stop_signals.append(number)
        child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    status = child.wait()
    if status == 0:
        return 0
    return EXIT_HANDED_BACK if stop_signals else 1
