"""A trainer without a detector: AP is a known smooth function of the control points, plus seeded noise.

It reports, checkpoints, stops and resumes like a real one, and can be told to fail (`SyntheticOptions`), so that
everything around trainings is tested with real processes in milliseconds. It must not import torch.

Notation: f_r is the function of row r, g_r the one of the hidden optimum (the published RetinaNet parameters).

    distance = mean over rows r and x in a grid of (f_r(x) - g_r(x))^2 / 0.06 + (log10(lambda / lambda*))^2 / 2
               + (w_L1^2 + w_GIoU^2 + e) / 4, for an error-driven head e = 1
    AP       = 0.5 exp(-distance - (ln(f / f*))^2) + noise, clamped to [0, 1], where f is the learning-rate factor
"""

import itertools
import json
import logging
import math
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from paploss.files import whole_file
from paploss.jobs.losses import LOSSES, HeadLoss, LossSpec, ParameterizedAP
from paploss.jobs.metrics import Metrics
from paploss.jobs.presets import PRESETS
from paploss.jobs.spec import (
    CheckpointEvent,
    EvaluationEvent,
    JobResult,
    JobSpec,
    ProgressEvent,
    StartEvent,
    SyntheticOptions,
)
from paploss.trainer.attempt import AttemptContext, describe_start
from paploss.trainer.errors import Interrupted, OutOfMemory, UserError
from paploss.trainer.fingerprint import loss_fingerprint
from paploss.trainer.rewards import measure_reward

log = logging.getLogger(__name__)

BEST_AP = 0.5
OTHER_APS = {name: 0.2 + 0.02 * index for index, name in enumerate(LOSSES)}
"""APs of losses without control points, all different."""
HANG_SECONDS = 3600.0
CRASH_STATUS = 70
GRID = [step / 32 for step in range(33)]
OPTIMUM: HeadLoss = PRESETS["retinanet"].heads["bbox_head"]


def smooth_ap(loss: LossSpec) -> float:
    """The AP without noise, in (0, BEST_AP]; the mean over the heads."""
    if not isinstance(loss, ParameterizedAP):
        return OTHER_APS[loss.name]
    distances = [_distance(head) for head in loss.heads.values()]
    return BEST_AP * math.exp(-sum(distances) / len(distances))


def noisy_ap(spec: JobSpec, options: SyntheticOptions) -> float:
    """The AP of a job, in [0, 1]; the noise follows from the seed and the loss."""
    rate_error = math.log(spec.learning_rate_factor / options.best_learning_rate_factor)
    noise = random.Random(f"{spec.seed} {loss_fingerprint(spec.loss)}").gauss(0, options.noise)
    return min(1.0, max(0.0, smooth_ap(spec.loss) * math.exp(-(rate_error**2)) + noise))


def train_synthetic(spec: JobSpec, attempt: AttemptContext) -> JobResult:
    """Runs `spec`, from its checkpoint if there is one.

    Raises:
        UserError, OutOfMemory: the job says so; or its reward cannot be measured.
        Interrupted: the job was asked to stop; a checkpoint is written.
    """
    options = spec.synthetic or SyntheticOptions()
    ap, total = noisy_ap(spec, options), options.iterations
    checkpoint = attempt.state / "checkpoint.json"
    stored = json.loads(checkpoint.read_bytes()) if checkpoint.exists() else {"iteration": 0, "seconds": 0.0}
    start, seconds_before = int(stored["iteration"]), float(stored["seconds"])
    has_fault = options.fault != "none" and ap < options.fault_below
    faulty = has_fault and _count_attempt(attempt.state) <= options.fault_attempts
    started = time.monotonic()

    def seconds() -> float:
        return seconds_before + time.monotonic() - started

    def save(iteration: int) -> None:
        try:
            _write(checkpoint, {"iteration": iteration, "seconds": seconds()})
        except OSError as error:
            log.warning("no checkpoint at iteration %d: %s", iteration, error)
        else:
            attempt.emit(CheckpointEvent(iteration=iteration, path=str(checkpoint)))

    def evaluate(ap: float, iteration: int) -> tuple[Metrics, float]:
        metrics = _metrics(ap)
        reward = measure_reward(spec.reward, metrics)
        attempt.emit(EvaluationEvent(iteration=iteration, total_iterations=total, metrics=metrics, reward=reward))
        return metrics, reward

    measure_reward(spec.reward, _metrics(ap))  # what cannot be measured is refused before the first iteration
    warnings = describe_start(spec, resumed=checkpoint.exists())
    attempt.emit(
        StartEvent(
            total_iterations=total,
            resumed_iteration=start,
            environment={"device": "synthetic"},
            warnings=warnings,
        )
    )
    end = max(1, round(spec.length * total))
    due = {round(fraction * total) for fraction in (0.5, *(point.fraction for point in spec.prune))} - {0, end}
    for iteration in range(start, end):
        if attempt.stop_requested():
            save(iteration)
            raise Interrupted(f"interrupted at iteration {iteration}")
        if faulty and iteration == min(options.fault_iteration, end - 1):
            if options.fault == "diverge":
                return JobResult(
                    outcome="succeeded", reward=0.0, diverged=True, iterations=iteration, seconds=seconds()
                )
            _fail(options)
        time.sleep(options.iteration_seconds)
        done = iteration + 1
        attempt.emit(ProgressEvent(iteration=done, total_iterations=total, loss=1 - ap, seconds=seconds()))
        if done in due:
            metrics, so_far = evaluate(ap * _learning_curve(done / total), done)
            floors = [point.min_ap for point in spec.prune if round(point.fraction * total) == done]
            if any(so_far < floor for floor in floors):
                return JobResult(outcome="pruned", reward=so_far, metrics=metrics, iterations=done, seconds=seconds())
        if done % max(1, total // 5) == 0:
            save(done)
    if end < total:
        save(end)
    metrics, reward = evaluate(ap * _learning_curve(end / total), end)
    kept = str(checkpoint) if spec.kind == "final" else None
    return JobResult(
        outcome="succeeded", reward=reward, metrics=metrics, iterations=end, seconds=seconds(), checkpoint=kept
    )


def _distance(head: HeadLoss) -> float:
    rows = list(zip(head.control_points, OPTIMUM.control_points, strict=False))
    squares = [(_interpolate(row, x) - _interpolate(best, x)) ** 2 for row, best in rows for x in GRID]
    scale = math.log10(head.gradient_scale / OPTIMUM.gradient_scale)
    extensions = head.l1_weight**2 + head.giou_weight**2 + head.error_driven
    return sum(squares) / len(squares) / 0.06 + scale**2 / 2 + extensions / 4


def _interpolate(points: Sequence[tuple[float, float]], x: float) -> float:
    """Value at x of the line through `points`; the left limit where it jumps."""
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x <= x1:
            return y0 if x1 <= x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return 1.0


def _learning_curve(fraction: float) -> float:
    """Part of the final AP that is reached after `fraction` of the iterations."""
    return (1 - math.exp(-3 * fraction)) / (1 - math.exp(-3))


def _metrics(ap: float) -> Metrics:
    return Metrics(ap=ap, ap50=min(1.0, 1.6 * ap), ap75=ap, ap_small=ap, ap_medium=ap, ap_large=ap)


def _fail(options: SyntheticOptions) -> None:
    match options.fault:
        case "crash":
            os._exit(CRASH_STATUS)  # as a segmentation fault would: no result, no clean-up
        case "hang":
            log.warning("synthetic: hanging")
            end = time.monotonic() + HANG_SECONDS
            while time.monotonic() < end:  # SIGTERM is ignored, as by a stuck device driver
                time.sleep(0.1)
        case "out_of_memory":
            raise OutOfMemory("synthetic: out of memory")
        case "user_error":
            raise UserError("synthetic.fault: this job was asked to fail as a user's mistake")


def _count_attempt(state: Path) -> int:
    """Number of this attempt, from 1."""
    path = state / "attempts.json"
    count = int(json.loads(path.read_bytes())) + 1 if path.exists() else 1
    _write(path, count)
    return count


def _write(path: Path, content: object) -> None:
    with whole_file(path) as file:
        file.write(json.dumps(content).encode())
