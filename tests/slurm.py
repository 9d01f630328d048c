"""A stand-in for Slurm: starts the elements of a job array as processes, with the environment that Slurm gives them.

As there, the options in the script are read up to its first command, those of the command line win, the batch script
runs in its own session, and `scancel` sends SIGTERM to it where the job has asked for `--signal=B:TERM`.
"""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Self

JOB_ID = 4711
KNOWN = {"job-name", "nodes", "ntasks", "cpus-per-task", "mem", "gpus-per-task", "time", "signal", "requeue", "output"}


class Slurm:
    """One job array."""

    def __init__(self, script: Path, folder: Path, environment: dict[str, str], *options: str) -> None:
        """What `sbatch OPTIONS SCRIPT` does in `folder`."""
        given = dict(_parse(option) for option in (*_read_options(script), *options))
        assert given.keys() <= KNOWN | {"array"}, given
        assert given["signal"].startswith("B:TERM@"), given["signal"]
        first, last = map(int, given["array"].partition("%")[0].split("-"))
        self.elements: dict[int, subprocess.Popen[bytes]] = {}
        for index in range(first, last + 1):
            of_slurm = {
                "SLURM_JOB_ID": str(JOB_ID + index),
                "SLURM_ARRAY_JOB_ID": str(JOB_ID),
                "SLURM_ARRAY_TASK_ID": str(index),
                "SLURM_CPUS_PER_TASK": given["cpus-per-task"],
            }
            log = folder / given["output"].replace("%A", str(JOB_ID)).replace("%a", str(index))
            with log.open("wb") as output:
                self.elements[index] = subprocess.Popen(
                    [str(script)],
                    cwd=folder,
                    env=environment | of_slurm,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for element in self.elements.values():
            if element.poll() is None:
                os.killpg(element.pid, signal.SIGKILL)
            element.wait()

    def scancel(self, index: int) -> None:
        self.elements[index].send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> list[int]:
        """Exit statuses of all elements, once all have ended."""
        return [element.wait(seconds) for element in self.elements.values()]


def _read_options(script: Path) -> list[str]:
    options = []
    for line in script.read_text().splitlines():
        if line.startswith("#SBATCH "):
            options.append(line.removeprefix("#SBATCH ").strip())
        elif line and not line.startswith("#"):
            break
    return options


def _parse(option: str) -> tuple[str, str]:
    found = re.fullmatch(r"--([a-z-]+)(?:=(\S+))?", option)
    assert found is not None, option
    return found[1], found[2] or ""
