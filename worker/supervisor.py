"""The worker's main loop: pull a trial's id, claim it, run it, and again; once per slot."""

import logging
import os
import threading
import time

from paploss.backoff import Backoff
from paploss.jobs.lease import Lease, WorkerInfo
from paploss.jobs.queue import QueueEntry, QueueError, TrialQueue
from paploss.worker.attempt import AttemptRun
from paploss.worker.circuit_breaker import CircuitBreaker
from paploss.worker.claims import Claims
from paploss.worker.controller import Controller, MismatchError
from paploss.worker.delivery import Deliveries
from paploss.worker.gpus import GpuWatch
from paploss.worker.machine import share_gpus
from paploss.worker.retention import keep_clear
from paploss.worker.settings import Settings
from paploss.worker.state import StateVolume
from paploss.worker.stopping import Stopping

_PULL_SECONDS = 2.0
"""So long a pull waits, and so long a stop may go unnoticed by a slot without work."""
_TAKEOVER_SECONDS = 5.0
"""An entry that another worker took and has not acknowledged for so long is worth a claim: it died between the two, or
its claim is unanswered."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 10.0
_REPAIR_SECONDS = 5.0
"""So often a state volume that could not be written is tried again."""
_JOIN_SECONDS = 0.5
_BREAKER_OPEN = "circuit breaker open: different trials crashed before their first step, so no claim for %.0f s"

log = logging.getLogger(__name__)


class Supervisor:
    """Runs trials in `settings.slots` threads until it is told to stop, or has been idle for long enough."""

    def __init__(
        self, settings: Settings, info: WorkerInfo, queue: TrialQueue, controller: Controller, volume: StateVolume
    ) -> None:
        self._queue = queue
        self._controller = controller
        self._volume = volume
        self._gpus = GpuWatch()
        self._stopping = Stopping(settings.grace_seconds)
        self._claims = Claims(controller, queue, self._stopping)
        self._deliveries = Deliveries(controller, volume, self._stopping)
        self._idle_seconds = settings.idle_seconds
        self._grace_seconds = settings.grace_seconds
        self._command = settings.trainer_command
        self._crash_pause_seconds = settings.crash_pause_seconds
        self._classes = settings.gpus if settings.gpus is not None else tuple({info.gpus: None, 0: None})
        # To the controller and to Redis each slot is a worker of its own.
        names = [info.name] if settings.slots == 1 else [f"{info.name}/{slot}" for slot in range(settings.slots)]
        self._slots = [
            threading.Thread(
                target=self._serve, args=(info.model_copy(update={"name": name}), slot), name=name, daemon=True
            )
            for slot, name in enumerate(names)
        ]
        self._error: str | None = None

    def run(self) -> int:
        """Serve to the end; returns the exit status: 0, or 1 where this worker and the controller do not fit.

        Told to stop, it returns in time whatever its slots wait for; trainers that are left die with the process.
        """
        cleaning = (self._controller, self._volume, self._stopping)
        threading.Thread(target=keep_clear, args=cleaning, name="retention", daemon=True).start()
        threading.Thread(target=self._deliveries.deliver_left_over, name="left over", daemon=True).start()
        for thread in self._slots:
            thread.start()
        for thread in self._slots:
            while thread.is_alive() and time.monotonic() < self._stopping.leave_at:
                thread.join(_JOIN_SECONDS)  # a signal's handler runs during this
            if thread.is_alive():
                log.warning("leaving, though slot %s still waits for an answer", thread.name)
        self._stopping.set()
        if self._error:
            log.error(self._error)
        return 1 if self._error else 0

    def stop(self) -> None:
        """Claim nothing more, release what runs. Callable from a signal handler."""
        self._stopping.set()
        self._controller.hurry()

    def _serve(self, info: WorkerInfo, slot: int) -> None:
        try:
            self._pull(info, slot)
        except Exception as error:
            # A slot must not vanish in silence: the others release what they run, and the process fails visibly.
            log.exception("slot %s met a defect", info.name)
            self._error = f"slot {info.name} met a defect: {error!r}"
            self.stop()

    def _pull(self, info: WorkerInfo, slot: int) -> None:
        idle_since = time.monotonic()
        breaker = CircuitBreaker(self._crash_pause_seconds)
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while not self._stopping.is_set():
            try:
                entry = self._queue.take(
                    self._classes, info.name, block_seconds=_PULL_SECONDS, takeover_seconds=_TAKEOVER_SECONDS
                )
            except QueueError as error:
                log.warning("no queue: %s", error)
                self._stopping.wait(backoff.next_seconds())
                continue
            backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
            lease = None if entry is None else self._claim(entry, info)
            if lease is not None:
                self._run(lease, info, slot, breaker)
                idle_since = time.monotonic()
            elif self._idle_seconds is not None and time.monotonic() - idle_since >= self._idle_seconds:
                log.info("nothing to do for %g s, ending", self._idle_seconds)
                return

    def _claim(self, entry: QueueEntry, info: WorkerInfo) -> Lease | None:
        try:
            return self._claims.claim(entry, info)
        except MismatchError as error:
            self._error = f"the controller rejects this worker: {error}"
            self.stop()
            return None

    def _run(self, lease: Lease, info: WorkerInfo, slot: int, breaker: CircuitBreaker) -> None:
        own_gpus = share_gpus(slot, lease.job.gpus, info.gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
        attempt = AttemptRun(
            lease,
            self._controller,
            self._volume,
            self._deliveries,
            self._gpus,
            environment={**os.environ, **own_gpus},
            command=self._command,
            grace_seconds=self._grace_seconds,
            stopping=self._stopping,
        )
        try:
            verdict = attempt.run()
        except OSError as error:
            log.error("this worker cannot run trainings now: %s", error, extra={"trial": lease.trial_id})
            self._await_volume()
            return
        if verdict == "stepped":
            breaker.reset()
        elif verdict == "never_stepped" and self._crash_pause_seconds:
            self._claims.avoid(lease.trial_id)
            if pause_seconds := breaker.record_failure(lease.trial_id):
                log.error(_BREAKER_OPEN, pause_seconds)
                self._stopping.wait(pause_seconds)

    def _await_volume(self) -> None:
        """Wait until files can be written again: whoever claimed now would only take trials from other workers."""
        while not self._stopping.wait(_REPAIR_SECONDS):
            try:
                self._volume.check()
            except OSError as error:
                log.warning("still no use of the state volume: %s", error)
            else:
                return
