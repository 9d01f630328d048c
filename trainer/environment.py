"""What a result was computed with."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

CHECKOUT = Path(__file__).resolve().parents[1]


def describe_environment(device: torch.device) -> dict[str, str]:
    """Versions, commit and device of this process."""
    packages = ("torch", "mmdet", "mmcv", "mmengine", "numpy", "pycocotools")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        **{package: metadata.version(package) for package in packages},
        "python": platform.python_version(),
        "commit": _commit(),
        "device": gpu or f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
    }


def _commit() -> str:
    """PAPLOSS_COMMIT, which an image sets, or that of the checkout that this file lies in; else "unknown"."""
    if named := os.environ.get("PAPLOSS_COMMIT"):
        return named
    if not (CHECKOUT / ".git").exists():
        return "unknown"
    try:
        found = subprocess.run(["git", "-C", CHECKOUT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
