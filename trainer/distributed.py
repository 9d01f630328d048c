"""The processes of one training: one per GPU, started by torchrun, or a single one."""

import os

import torch
import torch.distributed as dist
from torch import Tensor

from trainer.errors import UserError


def start(gpus: int) -> torch.device:
    """Joins the group that torchrun made, if there is one, and gives this process's device.

    Args:
        gpus: how many the job asks for; 0 is content with the CPU.

    Raises:
        UserError: this machine has fewer.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    available = torch.cuda.device_count()
    if gpus > available:
        raise UserError(f"gpus: the job asks for {gpus}, this machine has {available}")
    device = torch.device("cuda", local_rank) if available else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def stop() -> None:
    """Leaves the group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def maximum(values: Tensor) -> Tensor:
    """Elementwise maximum over the processes, so that all of them decide alike. NaN must be ruled out before."""
    if dist.is_initialized():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is set in any of the processes."""
    if not dist.is_initialized():
        return flag
    return bool(maximum(torch.tensor(float(flag), device=device)).item())


def gather_rows(rows: Tensor) -> Tensor:
    """The rows `[n_rank, C]` of all processes, `[sum n, C]`, in the order of the ranks, on the CPU."""
    if not dist.is_initialized():
        return rows
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else rows.device
    counts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=device))
    longest = max(int(count) for count in counts)
    padded = rows.new_zeros(longest, rows.shape[1], device=device)
    padded[: len(rows)] = rows.to(device)
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)]).cpu()
