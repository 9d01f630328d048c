"""How much processor time the command line takes to start, beside the library that it is built on.

    python -m benchmarks.command_line

`paploss --help`, and `paploss list` against a running controller with some searches, each in a process of its own, as
often as `python -c "import typer"`. Times are user and system time of the whole process; the ratio of medians is what
counts, since it moves little with the machine and with what else it does.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.record import write_record
from paploss.cli.platform import run_platform
from paploss.client import Client, SearchSpec

RUNS = 15
SEARCHES = 20
GOAL_RATIO = 5.0
GOAL_SECONDS = 0.35
BASELINE = "import typer"


def main() -> int:
    """Measure and record; returns 0 where both goals are met."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder, run_platform(Path(folder) / "state", None, workers=0) as platform:
        with Client(platform.address.url, platform.address.key) as client:
            for number in range(SEARCHES):
                client.create(SearchSpec(profile="synthetic", name=f"search {number}"))
        paploss = [sys.executable, "-m", "paploss.cli"]
        commands = {
            BASELINE: [sys.executable, "-c", "import typer"],
            "paploss --help": [*paploss, "--help"],
            "paploss list": [*paploss, "list", "--state", f"{folder}/state"],
        }
        seconds = {name: statistics.median(times) for name, times in measure(commands).items()}
    ratios = {name: seconds[name] / seconds[BASELINE] for name in commands if name != BASELINE}
    result = {
        "runs": RUNS,
        "searches": SEARCHES,
        "cpu_seconds": {name: round(value, 3) for name, value in seconds.items()},
        "ratio_to_import_typer": {name: round(value, 2) for name, value in ratios.items()},
        "goal": {"ratio": GOAL_RATIO, "cpu_seconds": GOAL_SECONDS},
    }
    path = write_record("command-line", ("paploss/cli", "paploss/client"), result)
    for name, ratio in ratios.items():
        print(f"{name}: {seconds[name]:.3f} s of processor time, {ratio:.1f} times `{BASELINE}` (goal {GOAL_RATIO:g})")
    print(path)
    return int(any(ratio > GOAL_RATIO or seconds[name] > GOAL_SECONDS for name, ratio in ratios.items()))


def measure(commands: dict[str, list[str]]) -> dict[str, list[float]]:
    """Processor time of each run, in turns, so that what else the machine does falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAPLOSS_")}
    for _ in range(RUNS + 1):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {name: values[1:] for name, values in times.items()}  # the first fills the caches


if __name__ == "__main__":
    sys.exit(main())
