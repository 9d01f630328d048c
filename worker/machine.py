"""What this machine is: shown beside each attempt. Asks the driver's tool, so that no torch is loaded for it."""

import os
import platform
import shutil
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version

from jobs.lease import WorkerInfo

_PACKAGES = ("paploss", "torch", "mmdet", "mmcv")


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


def _gpu_models() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    models = [line.strip() for line in listing.splitlines() if line.strip()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # the tool lists all of the machine, a trainer sees only these
    return models if visible is None else models[: len([index for index in visible.split(",") if index.strip()])]


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
