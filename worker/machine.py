"""What this machine is: shown beside each attempt. Asks the driver's tool, so that no torch is loaded for it."""

import os
import platform
import re
import shutil
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile

from paploss.jobs.lease import WorkerInfo

_PACKAGES = ("paploss", "torch", "mmdet", "onedl-mmdetection", "mmcv", "onedl-mmcv")
"""Those of them that are installed are shown."""

_NAME_OF_GPU = re.compile(r"\d|GPU-|MIG-")


def describe(name: str) -> WorkerInfo:
    """Host, GPUs and installed versions, under the worker's `name`."""
    models = _gpu_models()
    return WorkerInfo(
        name=name,
        host=socket.gethostname(),
        gpus=len(models),
        device=(models[0] if models else f"cpu ({platform.machine()})")[:200],
        versions={"python": platform.python_version()} | _versions(),
    )


def share_gpus(slot: int, wanted: int, found: int, visible: str | None) -> dict[str, str]:
    """What a trainer's environment needs so that it sees its slot's part of this machine's GPUs, and no more.

    Slots take the parts in turn, and share them where there are more slots than parts.

    Args:
        slot: number of the slot, from 0.
        wanted: GPUs of the trial; one that asks for none uses one where there is one.
        found: GPUs that this worker sees.
        visible: CUDA_VISIBLE_DEVICES of this worker, if it is set.
    """
    each = max(1, wanted)
    if found <= each:
        return {}
    names = (visible or ",".join(map(str, range(found)))).replace(" ", "").split(",")
    first = slot % (found // each) * each
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[first : first + each])}


def _gpu_models() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        listing = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    models = [line.strip() for line in listing.splitlines() if line.strip()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # the tool lists all of the machine, a trainer sees only these
    return models if visible is None else models[: count_visible(visible)]


def count_visible(devices: str) -> int:
    """How many GPUs CUDA_VISIBLE_DEVICES names: CUDA reads it up to the first that cannot be, such as -1."""
    named = (device.strip() for device in devices.split(","))
    return len(list(takewhile(_NAME_OF_GPU.match, named)))


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
