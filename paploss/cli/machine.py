"""What this machine has room for."""

import os
from pathlib import Path


def count_gpus() -> int:
    """NVIDIA GPUs of this machine, as its driver lists them."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def workers_here(workers: int | None) -> int:
    """The number of workers that was asked for, or what this machine has room for."""
    return workers if workers is not None else count_gpus() or count_cores()


def share(number: int, workers: int) -> dict[str, str]:
    """What of this machine one of several workers uses: a GPU of its own where there are some, else some cores."""
    gpus = count_gpus()
    if gpus:
        return {"CUDA_VISIBLE_DEVICES": str(number % gpus)}
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, count_cores() // workers))}
