"""This machine's GPUs: whether trainings can compute on them, and how they are used.

The use is asked from the driver's tool every few seconds, in a thread of its own, because a broken GPU can make the
tool hang, and a renewal must not wait for it.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping

from paploss.jobs.lease import GpuUse

_PAUSE_SECONDS = 5.0
_ANSWER_SECONDS = 20.0
_MEBIBYTE = 2**20

_QUERY = ("--query-gpu=memory.used,memory.total,utilization.gpu", "--format=csv,noheader,nounits")


_PROBE_SECONDS = 180.0
"""The first start of CUDA on a cold node reads gigabytes of libraries."""
_PROBE = """
import torch
found = torch.cuda.device_count()
for device in range(found):
    torch.ones(2, 2, device=f"cuda:{device}").mm(torch.ones(2, 2, device=f"cuda:{device}")).sum().item()
print(found)
"""


def find_gpu_fault(wanted: int) -> str:
    """Why trainings on `wanted` GPUs cannot compute here; empty where each GPU did a small computation.

    A process of its own tries, with the torch that trainings use: this one loads none, and must not hang.
    """
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"a GPU did not answer within {_PROBE_SECONDS:.0f} s"
    if tried.returncode:
        words = tried.stderr.strip().rpartition("\n")[2]
        return f"a computation on the GPU failed: {words or f'exit status {tried.returncode}'}"
    found = int(tried.stdout.split()[-1])
    return "" if found >= wanted else f"trials need {wanted}, torch sees {found}"


class GpuWatch:
    """The use of the visible GPUs as last read; empty without GPUs, without the tool, or while it does not answer."""

    def __init__(self) -> None:
        self._use: tuple[GpuUse, ...] = ()
        self._tool = shutil.which("nvidia-smi")
        if self._tool is not None:
            threading.Thread(target=self._watch, args=(self._tool,), name="gpus", daemon=True).start()

    @property
    def use(self) -> tuple[GpuUse, ...]:
        """What was read last; never waits."""
        return self._use

    def _watch(self, tool: str) -> None:
        pause = threading.Event()  # never set: the thread ends with the process
        while True:
            self._use = read_gpu_use(tool, os.environ)
            pause.wait(_PAUSE_SECONDS)


def read_gpu_use(tool: str, environment: Mapping[str, str]) -> tuple[GpuUse, ...]:
    """Ask `tool` (nvidia-smi) for the GPUs that a trainer sees; empty where it does not answer or answers oddly."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not visible.strip():
        return ()
    chosen = () if visible is None else ("-i", visible)
    try:
        listing = subprocess.run(
            [tool, *chosen, *_QUERY],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_ANSWER_SECONDS,
            check=True,
        ).stdout
        return tuple(_parse(line) for line in listing.splitlines() if line.strip())
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def _parse(line: str) -> GpuUse:
    used, total, utilisation = (part.strip() for part in line.split(","))
    return GpuUse(
        memory_used_bytes=int(used) * _MEBIBYTE,
        memory_total_bytes=int(total) * _MEBIBYTE,
        utilisation=int(utilisation) / 100 if utilisation.isdecimal() else None,  # "[N/A]" on a part of a GPU
    )
