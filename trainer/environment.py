"""What a result was computed with."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "mmdet", "mmcv", "mmengine", "numpy", "pycocotools")
FORKS = {"mmdet": "onedl-mmdetection", "mmcv": "onedl-mmcv", "mmengine": "onedl-mmengine"}
"""Maintained packages that are imported by the same names."""


def describe_environment(device: torch.device) -> dict[str, str]:
    """Versions, commit and device of this process."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        **{package: _version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "commit": _commit(),
        "device": gpu or f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        fork = FORKS[package]
        return f"{metadata.version(fork)} of {fork}"


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
