"""Settings of the process that a training runs in, and its limits."""

import resource

import cv2
import torch
import torch.utils.deterministic


def set_up(device: torch.device) -> None:
    """Settings of this process for training on `device`.

    On the CPU the same training gives the same result, bit for bit; where torch has no such algorithm it warns. On a
    GPU it does not: exact sums there wait for each other or sort first. Matrix products then have the digits of TF32,
    as convolutions have by torch's default.
    """
    on_cpu = device.type == "cpu"
    torch.use_deterministic_algorithms(on_cpu, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("highest" if on_cpu else "high")
    cv2.setNumThreads(0)  # images are small, and loading has its own processes
    # Each tensor from a loading process is an open file here; the usual limit of 1024 is soon reached.
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
