"""Training steps of whole detectors on a device: their time, their peak memory, and the part of the loss in them."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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
    now: Callable[[], float] = time.perf_counter
    """Seconds, where the device is a CPU."""
    _marks: list[tuple[Any, Any]] = field(default_factory=list)

    def mark(self) -> Any:
        """Now, in the order of the device's work."""
        if self.device.type != "cuda":
            return self.now()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
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
    taken = []
    try:
        for milliseconds, in_losses, _ in take_steps(job, count, device):
            taken.append((milliseconds, in_losses / milliseconds))
            if device.type == "cuda" and len(taken) == count // 2:  # cuDNN's choice of algorithms takes more memory
                torch.cuda.reset_peak_memory_stats(device)
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


def take_steps(
    job: JobSpec, count: int, device: torch.device, now: Callable[[], float] = time.perf_counter
) -> Iterator[tuple[float, float, dict[str, float]]]:
    """Milliseconds of each step on the device, of the losses in it, and the losses by name.

    A step is forward, losses, backward, clipping and optimiser; the losses are what follows from the outputs of the
    heads' layers, matching included, and back to their gradients.
    """
    set_up(device)
    data = read_job_data(job, find_cache_folder())
    recipe = recipe_of(job, data.train)
    detector: Any = build_detector(recipe.model, job.seed).to(device).train()
    compute_in(detector, recipe)
    optimizer = build_optimizer(detector, recipe.schedule)
    whole, of_losses = Clock(device, now), Clock(device, now)
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
    parts = [values] if isinstance(values, Tensor) else values
    return sum(float(part.detach().mean()) for part in parts)


def _time_losses(head: Any, clock: Clock) -> None:
    for name in LOSS_METHODS:
        if hasattr(head, name):
            setattr(head, name, timed_losses(getattr(head, name), clock))
            return


def timed_losses(function: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    """A function from outputs to losses whose forward and backward are counted, and whose results are the same.

    It computes the outputs' gradients at once, so that they can be timed apart from the network's, and hands them over
    when the network's are computed.
    """

    @wraps(function)
    def timed(*arguments: Any, **options: Any) -> Any:
        outputs: list[Tensor] = []
        leaves: list[Tensor] = []
        losses: list[Tensor] = []

        def cut(output: Tensor) -> Tensor:
            outputs.append(output)
            leaves.append(output.detach().requires_grad_())
            return leaves[-1]

        def keep(loss: Tensor) -> Tensor:
            losses.append(loss)
            return loss

        arguments, options = _map(arguments, cut), _map(options, cut)
        start = clock.mark()
        found = function(*arguments, **options)
        _map(found, keep)
        gradients = torch.autograd.grad([loss.mean() for loss in losses], leaves, allow_unused=True)
        clock.keep(start)

        def hand_over(loss: Tensor) -> Tensor:
            # The first loss has the gradients of all of them, whose sum training minimises.
            is_first = loss is losses[0]
            return _Known.apply(loss.detach(), gradients, *outputs) if is_first else loss.detach()  # type: ignore[no-untyped-call]

        return _map(found, hand_over)

    return timed


class _Known(torch.autograd.Function):
    """A number whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: tuple[Tensor | None, ...], *_outputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        scale = above[0].sum()
        return None, None, *(None if one is None else scale * one for one in ctx.gradients)


def _map(values: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Lists, tuples and dictionaries with those tensors changed that require a gradient."""
    if isinstance(values, Tensor):
        return change(values) if values.requires_grad else values
    if type(values) in (list, tuple):  # not what derives from them: mmdet's configurations are dictionaries too
        return type(values)(_map(value, change) for value in values)
    if type(values) is dict:
        return {name: _map(value, change) for name, value in values.items()}
    return values
