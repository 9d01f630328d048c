"""Turning queue entries into leases. No trial for which the controller has no answer may hold up the others."""

import logging
import time
from collections.abc import Callable
from uuid import uuid4

from paploss.backoff import Backoff
from paploss.jobs.lease import ClaimRequest, Granted, Lease, ReleaseRequest, RenewRequest, WorkerInfo
from paploss.jobs.queue import QueueEntry, QueueError, TrialQueue
from paploss.worker.avoidance import Avoidance
from paploss.worker.controller import Controller, MismatchError, RefusedError, UnavailableError, UnreadableLeaseError
from paploss.worker.stopping import Stopping

_PATIENCE_SECONDS = 30.0
"""So long a claim is repeated: a controller that starts again is back by then."""
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 8.0
_FIRST_UNREADABLE_SECONDS, _LONGEST_UNREADABLE_SECONDS = 5.0, 300.0
"""Pauses after leases that cannot be read: each costs its trial a preemption, so who can read none is slow."""

log = logging.getLogger(__name__)


class Claims:
    """Claims trials for all slots of a worker."""

    def __init__(
        self,
        controller: Controller,
        queue: TrialQueue,
        stopping: Stopping,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._controller = controller
        self._queue = queue
        self._stopping = stopping
        self._clock = clock
        self._avoidance = Avoidance(clock)
        self._unreadable_pauses = _unreadable_pauses()

    def claim(self, entry: QueueEntry, info: WorkerInfo) -> Lease | None:
        """The lease; none where the trial is not to be had, the claim goes unanswered, or the worker stops.

        The entry is acknowledged after a definite answer. Otherwise the next worker that asks gets it.

        Raises:
            MismatchError: the controller rejects this worker.
        """
        context = {"trial": entry.trial_id}
        if self._avoidance.covers(entry.trial_id):
            return None
        # One id for all repetitions: where the reply to the first was lost, the second gets the same lease.
        request = ClaimRequest(claim_id=uuid4(), trial_id=entry.trial_id, worker=info)
        patience_seconds = 0 if self._avoidance.knows(entry.trial_id) else _PATIENCE_SECONDS
        give_up_at = self._clock() + patience_seconds
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while not self._stopping.is_set():
            try:
                lease = self._controller.claim(request)
            except RefusedError as error:
                log.info("not claimed: %s", error, extra=context)
                self._settle(entry)
                return None
            except MismatchError:
                raise
            except UnreadableLeaseError as error:
                log.error("not trained: %s", error, extra=context)
                self._leave(entry, error.granted)
                return None
            except UnavailableError as error:
                log.warning("claim unanswered: %s", error, extra=context)
                if self._clock() >= give_up_at:
                    self.avoid(entry.trial_id)
                    return None
                self._stopping.wait(backoff.next_seconds())
            else:
                log.info("claimed", extra=context | {"attempt": lease.attempt})
                self._settle(entry)
                self._unreadable_pauses = _unreadable_pauses()
                return lease
        return None

    def avoid(self, trial_id: str) -> None:
        """Leave a trial to others for a while, longer each time."""
        seconds = self._avoidance.add(trial_id)
        log.warning("left to other workers for %.0f s", seconds, extra={"trial": trial_id})

    def _leave(self, entry: QueueEntry, granted: Granted | None) -> None:
        """Release what was granted and cannot be read, charged, and go on after a pause."""
        self.avoid(entry.trial_id)
        if granted is not None:
            try:
                # Only an attempt that has started is charged: a lease that nobody can read must use its budget up.
                self._controller.renew(RenewRequest(trial_id=granted.trial_id, token=granted.token))
                self._controller.release(
                    ReleaseRequest(trial_id=granted.trial_id, token=granted.token, reason="preempted")
                )
            except (RefusedError, UnavailableError) as error:  # the lease expires, and the trial is queued again
                log.warning("not released: %s", error, extra={"trial": granted.trial_id})
        self._acknowledge(entry)
        self._stopping.wait(self._unreadable_pauses.next_seconds())

    def _settle(self, entry: QueueEntry) -> None:
        self._avoidance.forget(entry.trial_id)
        self._acknowledge(entry)

    def _acknowledge(self, entry: QueueEntry) -> None:
        try:
            self._queue.acknowledge(entry)
        except QueueError as error:  # it will come again, and the claim will be refused
            log.warning("entry not acknowledged: %s", error, extra={"trial": entry.trial_id})


def _unreadable_pauses() -> Backoff:
    return Backoff(_FIRST_UNREADABLE_SECONDS, _LONGEST_UNREADABLE_SECONDS, least_part=0.5)
