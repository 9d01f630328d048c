"""What the benchmarks of losses share: inputs, a lean focal loss to compare with, time and memory of a step."""

import argparse
import ctypes
import time
import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)

Step = Callable[[], object]
"""One forward and backward."""


@dataclass(frozen=True)
class Options:
    """How to measure."""

    device: torch.device
    threads: int
    repeats: int
    clock_name: str

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds, of the wall or of this process on the CPU."""
        return time.perf_counter if self.clock_name == "wall" else time.process_time


def parse_options(description: str | None, repeats: int) -> Options:
    """Options from the command line; sets the number of CPU threads. `repeats` is the default of each measurement."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="ignored on a GPU (its own events)")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"of each measurement (default {repeats})")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return Options(torch.device(arguments.device), arguments.threads, arguments.repeats, arguments.clock)


def conditions(options: Options) -> dict[str, object]:
    """What the figures were taken with, for the record."""
    on_gpu = options.device.type == "cuda"
    return {
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "threads": options.threads,
        "clock": "cuda events" if on_gpu else options.clock_name,
    }


def entries(
    kind: str, count: int, positives: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Logits and quality, which require gradients, and targets, `[count]` each; a twentieth is ignored."""
    rng = np.random.default_rng(0)
    targets = np.zeros(count, dtype=np.int64)
    chosen = rng.permutation(count)
    targets[chosen[:positives]] = 1
    targets[chosen[positives : positives + count // 20]] = -1
    logits = rng.standard_normal(count) + np.where(targets == 1, 1.0, 0.0 if kind == "near" else -4.6)
    leaves = [torch.tensor(x, dtype=dtype, device=device, requires_grad=True) for x in (logits, rng.random(count))]
    return [*leaves, torch.tensor(targets, device=device)]


def focal(logits: Tensor, targets: Tensor) -> Step:
    """Forward and backward of a sigmoid focal loss (gamma 2, alpha 0.25) in as few operations as autograd allows."""

    def step() -> None:
        logits.grad = None
        is_positive = targets == 1
        wrong_way = torch.where(is_positive, -logits, logits)
        weight = torch.where(is_positive, 0.25, 0.75)
        loss = (weight * torch.sigmoid(wrong_way).square() * torch.nn.functional.softplus(wrong_way)).sum()
        loss.backward()  # type: ignore[no-untyped-call]

    return step


def milliseconds(
    steps: Mapping[Key, Step], repeats: int, device: torch.device, clock: Callable[[], float], warm_up: bool = True
) -> dict[Key, float]:
    """Median time of each step, taken in turns so that other load on the machine meets all alike."""
    times: dict[Key, list[float]] = {name: [] for name in steps}
    for repeat in range(-1 if warm_up else 0, repeats):
        for name, step in steps.items():
            if device.type == "cuda":
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
                torch.cuda.synchronize()
                start.record()
                step()
                end.record()
                end.synchronize()
                elapsed = start.elapsed_time(end)
            else:
                started = clock()
                step()
                elapsed = 1e3 * (clock() - started)
            if repeat >= 0:
                times[name].append(elapsed)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def count_waits(step: Step) -> int:
    """How often a step waits for the GPU, once it has run before."""
    step()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in caught)


def peak_bytes(step: Step, device: torch.device) -> int:
    """Most memory beyond what was held before that a step needs (on Linux; what it leaves as gradients counts)."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def kilobytes(field: str) -> int:
        return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0])

    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed but kept would hide what the step needs
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = kilobytes("VmRSS")
    step()
    return 1024 * (kilobytes("VmHWM") - before)
