"""How many processor cores this process may use."""

import os
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Of this process, in a container."""


def available_cores(control_group: Path = CONTROL_GROUP) -> int:
    """Cores that this process may use, at least 1: on a node that others share not all that there are."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = (control_group / "cpu.max").read_text().split()
    except OSError:
        return cores  # no control group, or one of version 1
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
