"""One training and its evaluation: a job goes in, one AP comes out.

The loop counts iterations. Everything random is a function of (seed, iteration) or (seed, epoch, image), so a training
that was interrupted ends with the numbers of one that was not.
"""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from jobs.spec import (
    CheckpointEvent,
    EvaluationEvent,
    JobResult,
    JobSpec,
    Metrics,
    ProgressEvent,
    StartEvent,
)
from trainer import distributed
from trainer.attempt import Attempt
from trainer.checkpoint import Progress, load_checkpoint, save_checkpoint
from trainer.datasets.coco import CocoSplit
from trainer.datasets.loading import SampleOrder, TrainingSamples, training_loader
from trainer.datasets.sources import read_job_splits
from trainer.detectors import build_detector
from trainer.divergence import DivergenceWatch, total_loss
from trainer.environment import describe_environment
from trainer.errors import HandedBack, OutOfMemory
from trainer.evaluation import evaluate
from trainer.profiles import recipe_of
from trainer.profiles.recipe import Recipe
from trainer.schedule import build_optimizer, learning_rate, total_iterations
from trainer.weights import save_final

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
"""Least time between two progress events."""


def train_and_evaluate(spec: JobSpec, attempt: Attempt) -> JobResult:
    """Runs `spec`, from its checkpoint if there is one.

    Raises:
        UserError: the job or its data is wrong.
        HandedBack: the job was asked to stop; a checkpoint is written.
    """
    train_split, test_split = read_job_splits(spec, attempt.data_cache)
    recipe = recipe_of(spec, train_split)
    device = distributed.start()
    try:
        return _Training(spec, recipe, train_split, test_split, device, attempt).run()
    finally:
        distributed.stop()


class _Training:
    """The state of one running training. Its methods follow the order in which they are called."""

    def __init__(
        self,
        spec: JobSpec,
        recipe: Recipe,
        train_split: CocoSplit,
        test_split: CocoSplit,
        device: torch.device,
        attempt: Attempt,
    ) -> None:
        self.spec, self.recipe, self.attempt, self.device = spec, recipe, attempt, device
        self.train_split, self.test_split = train_split, test_split
        self.total = total_iterations(recipe.schedule, len(train_split.samples()))
        self.detector = build_detector(recipe.model, spec.seed, Path(spec.weights) if spec.weights else None).to(device)
        self.optimizer = build_optimizer(self.detector, recipe.schedule)
        self.progress = Progress(job=job_fingerprint(spec))
        self._restore()
        self.watch = DivergenceWatch(self.detector, recipe.heads, self.total, self.progress.failures)
        self.started = time.monotonic()
        self.seconds_before = self.progress.seconds
        self.diverged = False

    def _restore(self) -> None:
        found = load_checkpoint(self.attempt.state, self.progress.job)
        if found is None:
            return
        self.progress, states = found
        self.detector.load_state_dict(states["model"])
        self.optimizer.load_state_dict(states["optimizer"])
        log.info("going on from iteration %d", self.progress.iteration)

    def run(self) -> JobResult:
        self.attempt.emit(
            StartEvent(
                total_iterations=self.total,
                resumed_iteration=self.progress.iteration,
                environment=describe_environment(self.device),
            )
        )
        if self.device.type == "cuda" and torch.distributed.is_initialized():
            parallel: nn.Module = DistributedDataParallel(self.detector, device_ids=[self.device.index])
        elif torch.distributed.is_initialized():
            parallel = DistributedDataParallel(self.detector)
        else:
            parallel = self.detector
        batches = iter(self._loader())
        last_event = last_checkpoint = self.started
        while True:
            if self._stop_agreed():
                raise self._hand_back()
            if self._evaluation_is_due():
                metrics = self._evaluate()
                if self.progress.iteration == self.total or self._is_hopeless(metrics):
                    return self._result(metrics)
            loss = self._step(parallel, next(batches))
            now = time.monotonic()
            if self.diverged:
                return self._result(None)
            if now - last_event >= PROGRESS_SECONDS or self.progress.iteration == self.total:
                self._emit_progress(loss)
                last_event = now
            if now - last_checkpoint >= self.attempt.checkpoint_seconds:
                self._save()
                last_checkpoint = now

    def _loader(self) -> Any:
        samples = TrainingSamples(
            self.train_split,
            self.recipe.load_pipeline,
            self.recipe.augment_pipeline,
            self.spec.seed,
            self.recipe.cache_loaded,
        )
        order = SampleOrder(
            len(samples),
            self.recipe.schedule.batch_size,
            self.spec.seed,
            self.progress.iteration,
            self.total,
            distributed.rank(),
            distributed.world_size(),
        )
        return training_loader(samples, order, self.attempt.loading_processes)

    def _step(self, parallel: nn.Module, batch: Any) -> float:
        """One step, unless it is useless; the loss."""
        iteration, schedule = self.progress.iteration, self.recipe.schedule
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(schedule, iteration, self.total)
        # Samplers inside detectors draw from torch's generator.
        torch.manual_seed(hash((self.spec.seed, iteration, distributed.rank())) % 2**63)
        parallel.train()
        inputs = self.detector.data_preprocessor(batch, training=True)
        losses = parallel(**inputs, mode="loss")
        loss = total_loss([value for name, value in losses.items() if "loss" in name])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        measured = distributed.maximum(self.watch.measure(losses)).tolist()
        norm = nn.utils.clip_grad_norm_(self.detector.parameters(), schedule.clip_norm or float("inf"))
        self.diverged = self.watch.update(measured)
        if bool(torch.isfinite(norm)) and all(np.isfinite(value) for row in measured for value in row):
            self.optimizer.step()
        self.progress.iteration += 1
        return float(loss.detach())

    def _evaluation_is_due(self) -> bool:
        iteration = self.progress.iteration
        fractions = (*self.recipe.evaluation_fractions, *(point.fraction for point in self.spec.prune))
        due = {self.total, *(round(fraction * self.total) for fraction in fractions)} - {0}
        done = {evaluation["iteration"] for evaluation in self.progress.evaluations}
        return iteration in due and (iteration not in done or iteration == self.total)

    def _evaluate(self) -> Metrics:
        def leave_if_stopped() -> None:
            if torch.distributed.is_initialized():
                return  # the processes would have to agree in the middle of their own parts
            if self.attempt.stop_requested():
                raise self._hand_back()

        metrics = evaluate(
            self.detector, self.test_split, self.recipe.test_pipeline, self.attempt.loading_processes, leave_if_stopped
        )
        self.progress.evaluations.append({"iteration": self.progress.iteration, "metrics": metrics.model_dump()})
        self.attempt.emit(
            EvaluationEvent(iteration=self.progress.iteration, total_iterations=self.total, metrics=metrics)
        )
        return metrics

    def _is_hopeless(self, metrics: Metrics) -> bool:
        iteration = self.progress.iteration
        return any(
            round(point.fraction * self.total) == iteration and metrics.ap < point.min_ap for point in self.spec.prune
        )

    def _result(self, metrics: Metrics | None) -> JobResult:
        finished = self.progress.iteration == self.total
        return JobResult(
            outcome="succeeded" if finished or self.diverged else "pruned",
            reward=0.0 if self.diverged or metrics is None else min(1.0, max(0.0, metrics.ap)),
            diverged=self.diverged,
            metrics=metrics,
            iterations=self.progress.iteration,
            seconds=self._seconds(),
            checkpoint=self._keep_weights() if finished and self.spec.kind == "final" else None,
        )

    def _keep_weights(self) -> str | None:
        if distributed.rank() != 0:
            return None
        return str(save_final(self.attempt.state, self.detector, self.spec, self.train_split, self.recipe))

    def _emit_progress(self, loss: float) -> None:
        self.attempt.emit(
            ProgressEvent(
                iteration=self.progress.iteration,
                total_iterations=self.total,
                loss=loss if np.isfinite(loss) else None,
                seconds=time.monotonic() - self.started,
            )
        )

    def _stop_agreed(self) -> bool:
        flag = torch.tensor([float(self.attempt.stop_requested())], device=self.device)
        return bool(distributed.maximum(flag).item())

    def _hand_back(self) -> HandedBack:
        self._save()
        return HandedBack(f"handed back at iteration {self.progress.iteration}")

    def _save(self) -> None:
        if distributed.rank() != 0:
            return
        self.progress.seconds = self._seconds()
        states = {"model": self.detector.state_dict(), "optimizer": self.optimizer.state_dict()}
        path = save_checkpoint(self.attempt.state, self.progress, states)
        self.attempt.emit(CheckpointEvent(iteration=self.progress.iteration, path=str(path)))

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started


def job_fingerprint(spec: JobSpec) -> str:
    """What must be equal for a checkpoint to be continued: the job without its name and limits."""
    return spec.model_dump_json(exclude={"trial_id", "timeout_seconds", "prune"})
