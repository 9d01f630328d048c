"""One attempt at a trial, from the granted claim to the answered result.

The thread that runs an attempt renews its lease by the clock and never waits for the trainer, so a trainer that hangs,
computes or prints without end cannot lose a lease, and a controller that does not answer cannot hold up a trainer.
"""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Literal

from jobs.lease import Lease, ReleaseRequest, RenewRequest, ResultRequest
from jobs.spec import EXIT_HANDED_BACK, JobResult
from worker.controller import Controller, RefusedError, UnavailableError
from worker.delivery import deliver
from worker.gpus import GpuWatch
from worker.state import AttemptFolder, StateVolume
from worker.training import Training, trainer_command

Reason = Literal["preempted", "paused"]

_AFTER_RESULT_SECONDS = 30
"""A trainer that has printed its result and does not end is killed after this."""
_LOOK_SECONDS = 0.25
"""So long a stop of the worker may go unnoticed."""
_RELEASE_SECONDS = 5
"""For so long a release is tried; without one the lease runs out by itself."""
_LOG_IN_ERROR_BYTES = 3500  # an error has at most 4000 characters

log = logging.getLogger(__name__)


class Attempt:
    """Runs one leased job in the calling thread."""

    def __init__(
        self,
        lease: Lease,
        controller: Controller,
        volume: StateVolume,
        gpus: GpuWatch,
        *,
        environment: Mapping[str, str],
        grace_seconds: float,
        stopping: threading.Event,
    ) -> None:
        """Prepare it; nothing is started.

        Args:
            lease: the claim that was granted.
            controller: whom to tell.
            volume: where the attempt's files go.
            gpus: what is known of this machine's GPUs.
            environment: of the trainer; the platform's own settings are left out.
            grace_seconds: time that the trainer has to leave a checkpoint, when told so or when `stopping` is set.
            stopping: set when this worker is to end.
        """
        self._lease = lease
        self._controller = controller
        self._volume = volume
        self._gpus = gpus
        self._environment = environment
        self._grace_seconds = grace_seconds
        search_id = lease.trial_id.rpartition("-")[0]
        self._context = {"search": search_id, "trial": lease.trial_id, "attempt": lease.attempt}
        self._wake = threading.Event()
        self._stopping = stopping
        self._handing_back: Reason | None = None
        self._lost: Literal["cancelled", "lost"] | None = None
        self._kill_at = float("inf")
        self._sent_log_tail = ""

    def run(self) -> None:
        """Run the job to its end and tell the controller.

        Raises:
            OSError: the state volume cannot be written, or no process started. The lease was released.
        """
        try:
            earlier = self._volume.finished_result(self._lease)
            folder = self._volume.open_attempt(self._lease)
            if earlier is not None:
                log.info("an earlier attempt had reached a result", extra=self._context)
                self._report(folder, earlier.model_copy(update={"token": self._lease.token}))
                return
            training = Training(
                trainer_command(folder.job_file, folder.training),
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
        self._conclude(folder, training, timed_out)

    def _supervise(self, training: Training) -> bool:
        """Renew and obey until the trainer has ended; returns whether it ran out of time."""
        started_at = time.monotonic()
        timeout_at = started_at + (self._lease.job.timeout_seconds or float("inf"))
        renew_at = started_at  # the first renewal marks the attempt as started
        while not training.ended:
            now = time.monotonic()
            if self._stopping.is_set():
                self._stop(training, "preempted")
            if training.result is not None:
                self._kill_at = min(self._kill_at, now + _AFTER_RESULT_SECONDS)
            if now >= min(self._kill_at, timeout_at):
                training.kill()
            if now >= renew_at and not self._lost:
                self._renew(training)
                renew_at = now + self._lease.renew_seconds
            deadline = min(renew_at, self._kill_at, timeout_at)
            self._wake.wait(min(max(deadline - time.monotonic(), 0.01), _LOOK_SECONDS))
            self._wake.clear()
        return time.monotonic() >= timeout_at

    def _renew(self, training: Training) -> None:
        log_tail = training.log_tail()
        request = RenewRequest(
            trial_id=self._lease.trial_id,
            token=self._lease.token,
            start=training.start,
            progress=training.progress,
            evaluations=training.evaluations,
            log_tail=log_tail if log_tail != self._sent_log_tail else "",
            gpu_use=self._gpus.use,
        )
        try:
            command = self._controller.renew(request).command
        except UnavailableError as error:
            log.warning("training on, the controller does not answer: %s", error, extra=self._context)
            return
        except RefusedError as error:
            log.warning("renewal refused: %s", error, extra=self._context)
            if error.lease_lost:
                self._lost = "lost"
                training.kill()
            return
        self._sent_log_tail = log_tail
        if command == "cancel":
            log.info("cancelled", extra=self._context)
            self._lost = "cancelled"
            training.kill()
        elif command == "pause":
            self._stop(training, "paused")

    def _stop(self, training: Training, reason: Reason) -> None:
        if self._handing_back is None:
            log.info("handing back: %s", reason, extra=self._context)
            self._handing_back = reason
            self._kill_at = min(self._kill_at, time.monotonic() + self._grace_seconds)
            training.terminate()

    def _conclude(self, folder: AttemptFolder, training: Training, timed_out: bool) -> None:
        failed = training.result is None or training.result.outcome == "failed"
        if failed and not self._lost and self._handing_back is None:
            self._blame_volume(training)
        if training.result is not None:
            self._report(folder, self._request(training, training.result))
        elif self._lost:
            pass  # there is nobody to tell
        elif timed_out:
            error = f"the training took longer than its timeout of {self._lease.job.timeout_seconds:g} s"
            result = JobResult(outcome="failed", error_kind="timeout", error=error, iterations=_iterations(training))
            self._report(folder, self._request(training, result))
        elif self._handing_back or training.exit_status == EXIT_HANDED_BACK:
            self._release(self._handing_back or "preempted", training.log_tail())
        else:
            ending = describe_ending(training.exit_status)
            error = f"the trainer ended without a result ({ending})\n{training.log_tail(_LOG_IN_ERROR_BYTES)}"
            result = JobResult(outcome="failed", error_kind="crash", error=error, iterations=_iterations(training))
            self._report(folder, self._request(training, result))
        if self._lost == "cancelled":  # where the lease is another's, the files may serve it
            self._volume.prune(self._lease.trial_id)

    def _blame_volume(self, training: Training) -> None:
        """A training that fails where no file can be written is not to blame: it is handed back.

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
            evaluations=training.evaluations,
            log_tail=training.log_tail(),
        )

    def _report(self, folder: AttemptFolder, request: ResultRequest) -> None:
        try:
            folder.write_result(request)
        except OSError as error:
            log.warning("the result could not be kept on disk: %s", error, extra=self._context)
        deliver(self._controller, self._volume, folder, request, self._stopping)

    def _release(self, reason: Reason, log_tail: str) -> None:
        request = ReleaseRequest(
            trial_id=self._lease.trial_id, token=self._lease.token, reason=reason, log_tail=log_tail
        )
        give_up_at = time.monotonic() + _RELEASE_SECONDS
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
                time.sleep(0.5)
            else:
                log.info("released", extra=self._context | {"reason": reason, "state": state})
                return


def trainer_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without the platform's settings, since keys and passwords are among them; the commit is told."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PAPLOSS_") or name == "PAPLOSS_COMMIT"
    }


def _iterations(training: Training) -> int:
    return training.progress.iteration if training.progress else 0


def describe_ending(exit_status: int | None) -> str:
    """How a trainer ended, for people."""
    # The guard reports a signal as 128 + its number; a negative status means that the guard itself was killed.
    number = -exit_status if exit_status is not None and exit_status < 0 else (exit_status or 0) - 128
    if number == 9:
        return "killed, perhaps by the kernel for lack of memory"
    return f"signal {number}" if number > 0 else f"exit status {exit_status}"
