"""What a newcomer waits for: `make search` after set-up, from a new folder of state to the printed result.

Runs the search of examples/digits.yaml with two workers, watches the controller's memory, and writes
benchmarks/results/first-search.json. Takes minutes; the machine should do nothing else.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.record import write_record

SPECIFICATION = Path("examples/digits.yaml")
WORKERS = 2
GOAL_SECONDS = 600
GOAL_MIB = 250
POLL_SECONDS = 0.5
CODE = ("controller", "paploss", "trainer", "worker", str(SPECIFICATION))


def main() -> None:
    """Search, measure, print, record."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory(prefix="paploss-benchmark-") as state:
        command = (sys.executable, "-m", "paploss.cli", "search", SPECIFICATION, "--state", state)
        started = time.monotonic()
        with subprocess.Popen((*command, "--workers", str(WORKERS)), stdout=subprocess.PIPE, text=True) as search:
            peak_bytes = 0
            while search.poll() is None:
                peak_bytes = max(peak_bytes, controller_bytes(search.pid))
                time.sleep(POLL_SECONDS)
            seconds = time.monotonic() - started
            output = search.stdout.read() if search.stdout else ""
    if search.returncode != 0:
        sys.exit(f"the search ended with {search.returncode}:\n{output}")
    said = [line for line in output.splitlines() if " AP " in line and "round" not in line]
    result = {
        "specification": str(SPECIFICATION),
        "workers": WORKERS,
        "seconds": round(seconds),
        "goal_seconds": GOAL_SECONDS,
        "controller_peak_mib": round(peak_bytes / 2**20),
        "goal_mib": GOAL_MIB,
        "said": said,
    }
    print(
        f"{seconds:.0f} s (goal {GOAL_SECONDS}), controller {peak_bytes / 2**20:.0f} MiB (goal {GOAL_MIB})",
        *said,
        sep="\n",
    )
    write_record("first-search", CODE, result)


def controller_bytes(pid: int) -> int:
    """Resident memory of the controller among the children of process `pid`, 0 while there is none."""
    try:
        for child in psutil.Process(pid).children(recursive=True):
            if "serve" in child.cmdline():
                return int(child.memory_info().rss)
    except psutil.Error:
        pass
    return 0


if __name__ == "__main__":
    main()
