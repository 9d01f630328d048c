"""What a result was computed with."""

import os
import platform
from importlib import metadata

import torch


def describe_environment(device: torch.device) -> dict[str, str]:
    """Versions, commit (from PAPLOSS_COMMIT, where the image or the caller sets it) and device of this process."""
    packages = ("torch", "mmdet", "mmcv", "mmengine", "numpy", "pycocotools")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        **{package: metadata.version(package) for package in packages},
        "python": platform.python_version(),
        "commit": os.environ.get("PAPLOSS_COMMIT", ""),
        "device": gpu or f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
    }
