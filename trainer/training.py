"""One training and its evaluation: a job goes in, its reward comes out.

The loop counts iterations. Everything random is a function of (seed, iteration) or (seed, epoch, image), so a training
that was interrupted ends with the numbers of one that was not.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from paploss.jobs.metrics import Metrics
from paploss.jobs.spec import (
    ANALYSED_KINDS,
    AnalysisEvent,
    CheckpointEvent,
    EvaluationEvent,
    JobResult,
    JobSpec,
    ProgressEvent,
    StartEvent,
)
from paploss.trainer import distributed
from paploss.trainer.analysis.analysis import analyse
from paploss.trainer.attempt import AttemptContext, describe_start
from paploss.trainer.checkpoint import TrainingProgress, load_checkpoint, save_checkpoint
from paploss.trainer.config import mmdet_config
from paploss.trainer.datasets.batches import Batch
from paploss.trainer.datasets.findings import MOST_WARNINGS
from paploss.trainer.datasets.loading import SampleOrder, TrainingSamples, choose_process_count, training_batches
from paploss.trainer.datasets.sources import JobData, check_job_data, read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.divergence import DivergenceWatch
from paploss.trainer.environment import describe_environment
from paploss.trainer.errors import Interrupted, OutOfMemory, UserError
from paploss.trainer.evaluation import Evaluated, evaluate, undefined_because
from paploss.trainer.export import keep_final
from paploss.trainer.fingerprint import job_fingerprint
from paploss.trainer.heads.balancing import balance
from paploss.trainer.minimised import minimised_loss
from paploss.trainer.precision import compute_in
from paploss.trainer.process import set_up
from paploss.trainer.profiles import recipe_of
from paploss.trainer.profiles.recipe import Recipe
from paploss.trainer.profiles.smallest_object import visibility_of
from paploss.trainer.rewards import measure_reward
from paploss.trainer.schedule import (
    build_optimizer,
    ends_epoch,
    evaluation_iterations,
    learning_rate,
    set_rate,
    stopping_iteration,
    total_iterations,
)

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
"""Least time between two progress events."""


def train_and_evaluate(spec: JobSpec, attempt: AttemptContext) -> JobResult:
    """Runs `spec`, from its checkpoint if there is one.

    Raises:
        UserError: the job or its data is wrong.
        MachineError: this machine cannot run it now.
        OutOfMemory: the training does not fit.
        Interrupted: the job was asked to stop; a checkpoint is written.
    """
    data = read_job_data(spec, attempt.cache)
    recipe = recipe_of(spec, data.train)
    try:
        with distributed.joined(spec.gpus) as device:
            with distributed.leaving_together():  # it may take hours to read all images
                if distributed.rank() == 0:
                    visibility = visibility_of(spec.profile, recipe)
                    check_job_data(spec, data, visibility, attempt.cache, _leaving_if_stopped(attempt))
            samples = TrainingSamples(data.train, recipe, spec.seed)
            data = data.without_training_images()
            set_up(device)
            if recipe.schedule.batch_size % distributed.world_size():
                raise UserError(
                    f"overrides.batch_size: expected a multiple of the {distributed.world_size()} devices, "
                    f"got {recipe.schedule.batch_size}"
                )
            return _Training(spec, recipe, data, samples, device=device, attempt=attempt).run()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" in str(error):
            raise OutOfMemory(str(error)) from error
        raise


def _leaving_if_stopped(attempt: AttemptContext) -> Callable[[], None]:
    """Hands the job back once it is asked for, looking every PROGRESS_SECONDS at most."""
    last = time.monotonic()

    def leave_if_stopped() -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            if attempt.stop_requested():
                raise Interrupted("released while images were checked")

    return leave_if_stopped


class _Training:
    """One running training: `run` is the loop, the other methods are its steps."""

    def __init__(
        self,
        spec: JobSpec,
        recipe: Recipe,
        data: JobData,
        samples: TrainingSamples,
        *,
        device: torch.device,
        attempt: AttemptContext,
    ) -> None:
        self.spec, self.recipe, self.data, self.samples = spec, recipe, data, samples
        self.device, self.attempt = device, attempt
        asked = attempt.loading_processes
        self.process_count = choose_process_count(recipe, device) if asked is None else asked
        self.total = total_iterations(recipe.schedule, len(samples))
        self.end = stopping_iteration(spec.length, self.total)
        self.evaluated_at = evaluation_iterations(spec, recipe.schedule, self.total)
        self.detector = build_detector(recipe.model, spec.seed, spec.weights).to(device)
        compute_in(self.detector, recipe)
        self.optimizer = build_optimizer(self.detector, recipe.schedule)
        self.progress = TrainingProgress(job=job_fingerprint(spec))
        self._restore()
        self.watch = DivergenceWatch(self.detector, recipe.heads, self.total, self.progress.failures)
        self.environment = describe_environment(device)
        self.started = time.monotonic()
        self.seconds_before = self.progress.seconds

    def _restore(self) -> None:
        found = load_checkpoint(self.attempt.state, self.progress.job)
        if found is None:
            return
        self.progress, states = found
        self.detector.load_state_dict(states["model"])
        self.optimizer.load_state_dict(states["optimizer"])
        log.info("resuming at iteration %d", self.progress.iteration)

    def run(self) -> JobResult:
        warnings = describe_start(self.spec, resumed=self.progress.iteration > 0) + self.data.findings.warnings()
        start = StartEvent(
            total_iterations=self.total,
            resumed_iteration=self.progress.iteration,
            environment=self.environment,
            warnings=warnings[:MOST_WARNINGS],
        )
        for warning in start.warnings:
            log.warning("%s", warning)
        self.attempt.emit(start)
        for done in self.progress.evaluations:  # an attempt that was killed may have had no time to pass them on
            self._emit_evaluation(done["iteration"], Metrics.model_validate(done["metrics"]))
        parallel = DistributedDataParallel(self.detector) if distributed.world_size() > 1 else self.detector
        batches = self._batches()
        last_event = last_checkpoint = self.started
        while True:
            if distributed.any_process(self.attempt.stop_requested(), self.device):
                raise self._interrupt()
            if self._evaluation_is_due():
                evaluated = self._evaluate()
                if self.progress.iteration == self.end or self._is_below_prune_point(evaluated.metrics):
                    return self._result(evaluated)
            loss, diverged = self._step(parallel, next(batches))
            if diverged:
                return self._diverged()
            now = time.monotonic()
            if now - last_event >= PROGRESS_SECONDS or self.progress.iteration == self.end:
                self._emit_progress(loss)
                last_event = now
            if now - last_checkpoint >= self.attempt.checkpoint_seconds:
                self._save()
                last_checkpoint = now

    def _batches(self) -> Iterator[Batch]:
        order = SampleOrder(
            image_count=len(self.samples),
            batch_size=self.recipe.schedule.batch_size,
            seed=self.spec.seed,
            start_iteration=self.progress.iteration,
            total_iterations=self.end,
            device=distributed.rank(),
            device_count=distributed.world_size(),
        )
        return training_batches(self.samples, order, self.process_count, self.device)

    def _step(self, parallel: nn.Module, batch: Batch) -> tuple[float, bool]:
        """One step; its loss, and whether the training has diverged. A step that is not finite changes no weight."""
        iteration, schedule = self.progress.iteration, self.recipe.schedule
        set_rate(self.optimizer, learning_rate(schedule, iteration, self.total))
        # Samplers inside detectors draw from torch's generator.
        torch.manual_seed((self.spec.seed << 32) + iteration * distributed.world_size() + distributed.rank())
        # Which algorithms are fastest is worth trying for one size of image; tests have many.
        torch.backends.cudnn.benchmark = self.recipe.one_image_size
        parallel.train()
        inputs = self.detector.data_preprocessor(batch, training=True)
        losses = parallel(**inputs, mode="loss")
        loss = minimised_loss(losses, self.recipe.heads)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        measured = distributed.maximum(self.watch.measure(losses)).tolist()
        norm = nn.utils.clip_grad_norm_(self.detector.parameters(), schedule.clip_norm or math.inf)
        if bool(norm.isfinite()) and all(math.isfinite(value) for row in measured for value in row):
            self.optimizer.step()
        balance(self.detector, epoch_ended=ends_epoch(schedule, iteration, self.total))
        self.progress.iteration += 1
        return float(loss.detach()), self.watch.update(measured)

    def _evaluation_is_due(self) -> bool:
        iteration = self.progress.iteration
        if iteration == self.end:
            return True
        done = {evaluation["iteration"] for evaluation in self.progress.evaluations}
        return iteration in self.evaluated_at - done

    def _evaluate(self) -> Evaluated:
        def leave_if_stopped() -> None:
            # Several processes could not agree in the middle of their own parts; they stop after the evaluation.
            if distributed.world_size() == 1 and self.attempt.stop_requested():
                raise self._interrupt()

        torch.backends.cudnn.benchmark = False
        pipeline = self.recipe.test_pipeline
        evaluated = evaluate(self.detector, self.data.test, pipeline, self.process_count, leave_if_stopped)
        metrics = evaluated.metrics
        if metrics.ap < 0:  # no number: as a reward it would be one
            raise UserError(f"{self.data.test.annotation_file}: AP is undefined: {undefined_because(self.data.test)}")
        iteration = self.progress.iteration
        self.progress.evaluations.append({"iteration": iteration, "metrics": metrics.model_dump()})
        self._emit_evaluation(iteration, metrics)
        return evaluated

    def _emit_evaluation(self, iteration: int, metrics: Metrics) -> None:
        reward = measure_reward(self.spec.reward, metrics)
        event = EvaluationEvent(iteration=iteration, total_iterations=self.total, metrics=metrics, reward=reward)
        self.attempt.emit(event)

    def _is_below_prune_point(self, metrics: Metrics) -> bool:
        iteration, reward = self.progress.iteration, measure_reward(self.spec.reward, metrics)
        return any(
            round(point.fraction * self.total) == iteration and reward < point.min_ap for point in self.spec.prune
        )

    def _result(self, evaluated: Evaluated) -> JobResult:
        metrics, finished = evaluated.metrics, self.progress.iteration == self.end
        if finished and self.end < self.total:
            self._save()
        kept = None
        if finished and self.spec.kind in ANALYSED_KINDS and distributed.rank() == 0:
            self.attempt.emit(AnalysisEvent(analysis=analyse(evaluated, self.data.test)))
        if finished and self.spec.kind == "final" and distributed.rank() == 0:
            kept = str(self._keep(metrics))
        return JobResult(
            outcome="succeeded" if finished else "pruned",
            reward=measure_reward(self.spec.reward, metrics),
            metrics=metrics,
            iterations=self.progress.iteration,
            seconds=self._seconds(),
            checkpoint=kept,
        )

    def _keep(self, metrics: Metrics) -> Path:
        config, folder = mmdet_config(self.spec, self.data, self.recipe), self.attempt.state
        return keep_final(folder, self.detector, self.spec, metrics, config=config, environment=self.environment)

    def _diverged(self) -> JobResult:
        log.warning("diverged at iteration %d: %s", self.progress.iteration, self.watch.failures)
        return JobResult(
            outcome="succeeded",
            reward=0.0,
            diverged=True,
            iterations=self.progress.iteration,
            seconds=self._seconds(),
        )

    def _emit_progress(self, loss: float) -> None:
        event = ProgressEvent(
            iteration=self.progress.iteration,
            total_iterations=self.total,
            loss=loss if math.isfinite(loss) else None,
            seconds=time.monotonic() - self.started,
        )
        self.attempt.emit(event)

    def _interrupt(self) -> Interrupted:
        self._save()
        return Interrupted(f"interrupted at iteration {self.progress.iteration}")

    def _save(self) -> None:
        if distributed.rank() != 0:
            return
        self.progress.seconds = self._seconds()
        states = {"model": self.detector.state_dict(), "optimizer": self.optimizer.state_dict()}
        try:
            path = save_checkpoint(self.attempt.state, self.progress, states)
        except (OSError, RuntimeError) as error:  # torch makes the one of the other; the training needs no checkpoint
            log.warning("no checkpoint at iteration %d: %s", self.progress.iteration, error)
        else:
            self.attempt.emit(CheckpointEvent(iteration=self.progress.iteration, path=str(path)))

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started
