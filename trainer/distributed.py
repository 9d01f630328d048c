"""The processes of one training: one per GPU, started by torchrun, or a single one."""

import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from paploss.trainer.errors import MachineError

_ANY_TIME = timedelta(days=30)


@contextmanager
def joined(gpus: int) -> Iterator[torch.device]:
    """This process's device; within the block it belongs to the group that torchrun made, if there is one.

    Args:
        gpus: how many the job asks for; 0 accepts the CPU.

    Raises:
        MachineError: this machine has fewer, perhaps because one has failed.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    available = torch.cuda.device_count()
    if gpus > available:
        raise MachineError(f"gpus: the job asks for {gpus}, this machine has {available}")
    device = torch.device("cuda", local_rank) if available else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    except BaseException as error:
        # A parallel detector must go before its group. If it went last, it would end gloo's threads while it holds the
        # interpreter's lock, which they may want: neither would end. The frames of an error are what may still hold it.
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def leaving_together() -> Iterator[None]:
    """The processes leave the block together, however long one of them takes in it.

    What else they do together gives up on one that does not come: after 10 minutes on GPUs.
    """
    if not dist.is_initialized():
        yield
        return
    group = dist.new_group(backend="gloo", timeout=_ANY_TIME)
    yield
    dist.barrier(group)
    dist.destroy_process_group(group)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def maximum(values: Tensor) -> Tensor:
    """Elementwise maximum over the processes, so that all of them decide alike. NaN must be ruled out before."""
    if dist.is_initialized():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


def average(values: Tensor) -> Tensor:
    """Elementwise mean over the processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values /= world_size()
    return values


def broadcast_from_first(tensors: Iterable[Tensor]) -> None:
    """Makes each tensor what it is in the first process, in place."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


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
    return torch.cat(_gather(rows.to(device))).cpu()


def gather_with_gradient(rows: Tensor) -> Tensor:
    """The rows `[n_rank, ...]` of all processes, `[sum n, ...]`, in the order of the ranks, with a way back.

    For a value that every process computes alike from all rows. What comes back to a process's own rows is multiplied
    by the number of processes, because training averages the gradients that they bring: the mean is then the gradient
    of that one value. Nothing is sent on the way back.
    """
    if not dist.is_initialized():
        return rows
    return cast(Tensor, _GatheredRows.apply(rows))  # type: ignore[no-untyped-call]


class _GatheredRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = _gather(rows)
        start = sum(len(part) for part in parts[: rank()])
        ctx.own = slice(start, start + len(rows))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0][ctx.own] * world_size()


def _gather(rows: Tensor) -> list[Tensor]:
    """The rows `[n_rank, ...]` of each process, which may differ in number."""
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    longest = max(int(count) for count in counts)
    padded = rows.new_zeros(longest, *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return [part[: int(count)] for part, count in zip(parts, counts, strict=True)]
