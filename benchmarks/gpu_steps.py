"""Training steps of whole detectors on a device: their time, their peak memory, and the part of the loss in them."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import nn

from paploss.caches import find_cache_folder
from paploss.jobs.spec import JobSpec
from paploss.trainer.cores import available_cores
from paploss.trainer.datasets.loading import SampleOrder, TrainingSamples, training_batches
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.minimised import minimised_loss
from paploss.trainer.precision import compute_in
from paploss.trainer.process import set_up
from paploss.trainer.profiles import recipe_of
from paploss.trainer.schedule import build_optimizer

LOSS_METHODS = ("loss_by_feat", "loss_and_target")
"""Where mmdet's heads compute their losses from what their layers gave: dense ones, and the second stage's."""


@dataclass
class Clock:
    """Times parts of the work on a device: by its events on a GPU, so that nothing waits for it."""

    device: torch.device
    _marks: list[tuple[Any, Any]] = field(default_factory=list)

    def mark(self) -> Any:
        """Now, in the order of the device's work."""
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()  # type: ignore[no-untyped-call]
        return event

    def keep(self, start: Any) -> None:
        """Count from `start` to now."""
        self._marks.append((start, self.mark()))

    def take(self) -> float:
        """Milliseconds counted since the last time; waits for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            total = sum(start.elapsed_time(end) for start, end in self._marks)
        else:
            total = sum(1e3 * (end - start) for start, end in self._marks)
        self._marks.clear()
        return float(total)


def measure(job: JobSpec, count: int, device: torch.device) -> dict[str, object]:
    """Medians over the second half of `count` training steps; where the GPU's memory is too small, that alone."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    taken = []
    try:
        for milliseconds, in_losses, _ in take_steps(job, count, device):
            taken.append((milliseconds, in_losses / milliseconds))
    except torch.cuda.OutOfMemoryError:
        return {"out_of_memory": True}
    step_ms, share = np.median(taken[count // 2 :], axis=0).tolist()
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    return {
        "step_ms": round(step_ms, 2),
        "images_per_second": round(1e3 * (job.overrides.batch_size or 0) / step_ms, 1),
        "loss_share": round(share, 4),
        "peak_gib": None if peak is None else round(peak, 2),
    }


def take_steps(job: JobSpec, count: int, device: torch.device) -> Iterator[tuple[float, float, dict[str, float]]]:
    """Milliseconds of each step on the device, of the losses' forward in it, and the losses by name."""
    set_up(device)
    data = read_job_data(job, find_cache_folder())
    recipe = recipe_of(job, data.train)
    detector: Any = build_detector(recipe.model, job.seed).to(device).train()
    compute_in(detector, recipe)
    optimizer = build_optimizer(detector, recipe.schedule)
    whole, of_losses = Clock(device), Clock(device)
    for head in recipe.heads:
        _time_losses(detector.get_submodule(head.module), of_losses)
    torch.backends.cudnn.benchmark = recipe.one_image_size
    samples = TrainingSamples(data.train, recipe, job.seed)
    order = SampleOrder(
        image_count=len(samples),
        batch_size=recipe.schedule.batch_size,
        seed=job.seed,
        start_iteration=0,
        total_iterations=count,
    )
    process_count = min(8, available_cores()) if device.type == "cuda" else 0
    torch.manual_seed(job.seed)
    for batch in training_batches(samples, order, process_count, device):
        start = whole.mark()
        losses = detector(**detector.data_preprocessor(batch, training=True), mode="loss")
        loss = minimised_loss(losses, recipe.heads)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(detector.parameters(), recipe.schedule.clip_norm or math.inf)
        optimizer.step()
        whole.keep(start)
        yield (
            whole.take(),
            of_losses.take(),
            {name: _total(value) for name, value in losses.items()},
        )


def _total(values: Any) -> float:
    """Of one output: a tensor, or a list with one for each level."""
    parts = [values] if isinstance(values, torch.Tensor) else values
    return sum(float(part.detach().mean()) for part in parts)


def _time_losses(head: Any, clock: Clock) -> None:
    for name in LOSS_METHODS:
        if hasattr(head, name):
            setattr(head, name, _timed(getattr(head, name), clock))
            return


def _timed(function: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    @wraps(function)
    def timed(*arguments: Any, **options: Any) -> Any:
        start = clock.mark()
        try:
            return function(*arguments, **options)
        finally:
            clock.keep(start)

    return timed
