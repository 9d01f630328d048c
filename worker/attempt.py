"""One attempt at a trial, from the granted claim to the answered result.

The lease is renewed by a thread of its own, by the clock, which waits neither for the trainer nor anybody for it: a
trainer that hangs, computes or prints without end cannot lose a lease, and a controller that does not answer delays no
stop, no timeout and no kill.
"""

import logging
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal

from paploss.backoff import Backoff
from paploss.jobs.ids import experiment_of
from paploss.jobs.lease import Lease, ReleaseRequest, RenewRequest, ResultRequest
from paploss.jobs.spec import EXIT_INTERRUPTED, EvaluationEvent, JobResult
from paploss.worker.controller import Controller, RefusedError, UnavailableError
from paploss.worker.delivery import Deliveries
from paploss.worker.gpus import GpuWatch
from paploss.worker.state import AttemptFolder, StateVolume
from paploss.worker.stopping import Stopping
from paploss.worker.training import Training, trainer_command

Reason = Literal["preempted", "paused"]
Order = Literal["pause", "cancel", "lost"]
"""What the controller wants of a training that is not to go on; `lost`: nothing, it is another worker's."""
MachineSign = Literal["stepped", "never_stepped", "unknown"]
"""What an attempt says of its machine: it made a step, it crashed before that, or neither."""

_AFTER_RESULT_SECONDS = 30
"""A trainer that has printed its result and does not end is killed after this."""
_LOOK_SECONDS = 0.25
"""So long a stop of the worker may go unnoticed."""
_RELEASE_SECONDS = 5
"""For so long a release is tried; without one the lease runs out by itself."""
_MAX_EVALUATIONS_BYTES = 300_000
"""Of the evaluations in one message: a controller takes messages of a megabyte, if its operator says nothing else."""
_MAX_ERROR_LENGTH = 4000
_LOG_IN_ERROR_BYTES = 3500

log = logging.getLogger(__name__)


class AttemptRun:
    """Runs one leased job in the calling thread."""

    def __init__(
        self,
        lease: Lease,
        controller: Controller,
        volume: StateVolume,
        deliveries: Deliveries,
        gpus: GpuWatch,
        *,
        environment: Mapping[str, str],
        command: Sequence[str] | None,
        grace_seconds: float,
        stopping: Stopping,
    ) -> None:
        """Prepare it; nothing is started.

        Args:
            lease: the claim that was granted.
            controller: whom to tell.
            volume: where the attempt's files go.
            deliveries: what takes results to the controller.
            gpus: what is known of this machine's GPUs.
            environment: of the trainer; the platform's own settings are left out.
            command: the operator's program for jobs of the profile `command`.
            grace_seconds: time that the trainer has to leave a checkpoint when its search is paused.
            stopping: set when this worker is to end.
        """
        self._lease = lease
        self._controller = controller
        self._volume = volume
        self._deliveries = deliveries
        self._gpus = gpus
        self._environment = environment
        self._command = command
        self._grace_seconds = grace_seconds
        self._context = {
            "experiment": experiment_of(lease.trial_id),
            "trial": lease.trial_id,
            "attempt": lease.attempt,
        }
        self._wake = threading.Event()
        self._over = threading.Event()
        self._stopping = stopping
        self._order: Order | None = None
        """Set by the renewing thread, obeyed by the other."""
        self._releasing: Reason | None = None
        self._kill_at = float("inf")
        self._sent_log_tail = ""
        self._told_evaluations = 0

    def run(self) -> MachineSign:
        """Run the job to its end and tell the controller.

        Raises:
            OSError: the state volume cannot be written, or no process started. The lease was released.
        """
        try:
            earlier = self._volume.finished_result(self._lease)
            folder = self._volume.open_attempt(self._lease)
            if earlier is not None:
                return self._report_earlier(folder, earlier)
            training = Training(
                trainer_command(self._lease.job, folder.job_file, folder.training, self._command),
                folder.log_file,
                trainer_environment(self._environment),
                self._wake.set,
            )
        except OSError:
            self._release("preempted", "")
            raise
        log.info("trainer started", extra=self._context | {"pid": training.pid})
        timed_out = self._supervise(training)
        log.info("trainer ended", extra=self._context | {"exit_status": training.exit_status})
        return self._conclude(folder, training, timed_out)

    def _report_earlier(self, folder: AttemptFolder, earlier: ResultRequest) -> MachineSign:
        log.info("an earlier attempt had reached a result", extra=self._context)
        # Counted as started, this attempt is charged to a budget if its result comes to nothing again.
        with suppress(UnavailableError, RefusedError):
            self._controller.renew(RenewRequest(trial_id=self._lease.trial_id, token=self._lease.token))
        is_taken = self._report(folder, earlier.model_copy(update={"token": self._lease.token}))
        return "unknown" if is_taken else "never_stepped"

    def _supervise(self, training: Training) -> bool:
        """Obey until the trainer has ended; returns whether it ran out of time."""
        timeout_at = time.monotonic() + (self._lease.job.timeout_seconds or float("inf"))
        threading.Thread(target=self._keep_lease, args=(training,), name="lease", daemon=True).start()
        while not training.ended:
            now = time.monotonic()
            if self._stopping.is_set():
                self._stop_trainer(training, "preempted")
                self._kill_at = min(self._kill_at, self._stopping.kill_at)
            elif self._order == "pause":
                self._stop_trainer(training, "paused")
                self._kill_at = min(self._kill_at, now + self._grace_seconds)
            if training.result is not None:
                self._kill_at = min(self._kill_at, now + _AFTER_RESULT_SECONDS)
            if self._is_lost or now >= min(self._kill_at, timeout_at):
                training.kill()
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()
        self._over.set()
        return time.monotonic() >= timeout_at

    @property
    def _is_lost(self) -> bool:
        """Whether there is nobody any more who wants a result."""
        return self._order in ("cancel", "lost")

    def _keep_lease(self, training: Training) -> None:
        """Renew until the training has ended or is not to go on. The first time marks the attempt as started."""
        while not self._over.is_set() and not self._is_lost:
            # Jitter: workers that claimed in one moment, or waited for one restart, must not renew in step for ever.
            renew_at = time.monotonic() + random.uniform(0.8, 1.0) * self._lease.renew_seconds
            self._renew(training)
            self._over.wait(max(0.0, renew_at - time.monotonic()))

    def _renew(self, training: Training) -> None:
        log_tail = training.log_tail()
        untold = _fitting(training.evaluations[self._told_evaluations :])
        request = RenewRequest(
            trial_id=self._lease.trial_id,
            token=self._lease.token,
            start=training.start,
            progress=training.progress,
            evaluations=untold,
            log_tail=log_tail if log_tail != self._sent_log_tail else "",
            gpu_use=self._gpus.use,
        )
        try:
            command = self._controller.renew(request).command
        except UnavailableError as error:
            log.warning("training on, the controller does not answer: %s", error, extra=self._context)
            return
        except RefusedError as error:
            if not self._over.is_set():  # whose result was taken meanwhile has no lease any more
                log.warning("renewal refused: %s", error, extra=self._context)
                if error.lease_lost:
                    self._obey("lost")
            self._told_evaluations += len(untold)  # the next renewal goes without: they must not cost the lease
            return
        self._sent_log_tail = log_tail
        self._told_evaluations += len(untold)
        if command != "continue":
            self._obey(command)

    def _obey(self, order: Order) -> None:
        if order != self._order:
            log.info("the controller says: %s", order, extra=self._context)
        self._order = order
        self._wake.set()

    def _stop_trainer(self, training: Training, reason: Reason) -> None:
        if self._releasing is None:
            log.info("stopping the trainer: %s", reason, extra=self._context)
            self._releasing = reason
            training.terminate()

    def _conclude(self, folder: AttemptFolder, training: Training, timed_out: bool) -> MachineSign:
        is_lost = self._is_lost
        failed = training.result is None or training.result.outcome == "failed"
        if failed and not is_lost and self._releasing is None:
            self._blame_volume(training)
        result = training.result
        if result is None and not is_lost:  # otherwise there is nobody to tell
            if timed_out:
                error = f"the training took longer than its timeout of {self._lease.job.timeout_seconds:g} s"
                result = _failure("timeout", error, training)
            elif self._releasing or training.exit_status == EXIT_INTERRUPTED:
                self._release(self._releasing or "preempted", training.log_tail())
            else:
                ending = describe_ending(training.exit_status)
                log_tail = training.log_tail(_LOG_IN_ERROR_BYTES)
                error = f"the trainer ended without a result ({ending})\n{log_tail}".rstrip()
                result = _failure("crash", error, training)
        is_taken = result is None or self._report(folder, self._request(training, result))
        if self._order == "cancel":  # where the lease is another's, the files may serve it
            self._volume.remove(self._lease.trial_id)
        if training.progress is not None:
            return "stepped"
        broke = result is not None and result.error_kind in ("crash", "out_of_memory")
        return "never_stepped" if broke or not is_taken else "unknown"

    def _blame_volume(self, training: Training) -> None:
        """A training that fails where no file can be written is not to blame: its lease is released.

        Raises:
            OSError: so it is.
        """
        try:
            self._volume.check()
        except OSError:
            self._release("preempted", training.log_tail())
            raise

    def _request(self, training: Training, result: JobResult) -> ResultRequest:
        return ResultRequest(
            trial_id=self._lease.trial_id,
            token=self._lease.token,
            result=result,
            evaluations=_fitting(training.evaluations[::-1])[::-1],
            analysis=training.analysis,
            log_tail=training.log_tail(),
        )

    def _report(self, folder: AttemptFolder, request: ResultRequest) -> bool:
        """Whether the controller could take the result, or may yet."""
        try:
            folder.write_result(request)
        except OSError as error:
            log.warning("the result could not be kept on disk: %s", error, extra=self._context)
        refusal = self._deliveries.deliver(folder, request)
        if refusal is None or refusal.lease_lost:
            return True
        self._report_refusal(refusal, request.result.iterations)
        return False

    def _report_refusal(self, refusal: RefusedError, iterations: int) -> None:
        """Have the attempt charged whose result the controller cannot take, and people told why.

        The result stays on disk for the next attempt: it may find a controller of another version, or other limits.
        """
        error = f"the controller refused the result: {refusal}"[:_MAX_ERROR_LENGTH]
        failure = JobResult(outcome="failed", error_kind="crash", error=error, iterations=iterations)
        request = ResultRequest(trial_id=self._lease.trial_id, token=self._lease.token, result=failure)
        try:
            state = self._controller.report(request).state
        except RefusedError as again:
            log.warning("so is the failure: %s", again, extra=self._context)
            self._release("preempted", "")
        except UnavailableError as silence:
            log.warning("not failed, the lease will run out: %s", silence, extra=self._context)
        else:
            log.warning("failed, for its result was refused", extra=self._context | {"state": state})

    def _release(self, reason: Reason, log_tail: str) -> None:
        request = ReleaseRequest(
            trial_id=self._lease.trial_id, token=self._lease.token, reason=reason, log_tail=log_tail
        )
        give_up_at = time.monotonic() + _RELEASE_SECONDS
        backoff = Backoff(0.5, 2.0)
        while True:
            try:
                state = self._controller.release(request).state
            except RefusedError as error:
                log.warning("release refused: %s", error, extra=self._context)
                return
            except UnavailableError as error:
                if time.monotonic() >= give_up_at:
                    log.warning("not released, the lease will run out: %s", error, extra=self._context)
                    return
                time.sleep(backoff.next_seconds())
            else:
                log.info("released", extra=self._context | {"reason": reason, "state": state})
                return


def trainer_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without the platform's settings, since keys and passwords are among them; the commit is told.

    Threads of a training that wait for each other leave the cores to others, unless the environment says otherwise: on
    a machine that is busy otherwise, waiting actively takes several times the time (DECISIONS.md, 76).
    """
    return {"OMP_WAIT_POLICY": "passive"} | {
        name: value
        for name, value in environment.items()
        if not name.startswith("PAPLOSS_") or name == "PAPLOSS_COMMIT"
    }


def _failure(kind: Literal["crash", "timeout"], error: str, training: Training) -> JobResult:
    iterations = training.progress.iteration if training.progress else 0
    return JobResult(outcome="failed", error_kind=kind, error=error, iterations=iterations)


def _fitting(evaluations: Sequence[EvaluationEvent]) -> tuple[EvaluationEvent, ...]:
    """The first evaluations, as many as one message takes; at least one if there is one."""
    size_bytes = 0
    for number, evaluation in enumerate(evaluations):
        size_bytes += len(evaluation.model_dump_json().encode())
        if number and size_bytes > _MAX_EVALUATIONS_BYTES:
            return tuple(evaluations[:number])
    return tuple(evaluations)


def describe_ending(exit_status: int | None) -> str:
    """How a trainer ended, for people."""
    # The subreaper reports a signal as 128 + its number; a negative status means that it was killed itself.
    number = -exit_status if exit_status is not None and exit_status < 0 else (exit_status or 0) - 128
    if number == 9:
        return "killed, perhaps by the kernel for lack of memory"
    return f"signal {number}" if number in signal.valid_signals() else f"exit status {exit_status}"
