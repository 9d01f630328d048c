"""Turning queue entries into leases. No trial for which the controller has no answer may hold up the others."""

import logging
import time
from collections.abc import Callable
from uuid import uuid4

from paploss.backoff import Backoff
from paploss.jobs.lease import ClaimRequest, Lease, WorkerInfo
from paploss.jobs.queue import Entry, QueueError, TrialQueue
from paploss.worker.avoidance import Avoidance
from paploss.worker.controller import Controller, MismatchError, RefusedError, UnavailableError
from paploss.worker.stopping import Stopping

_PATIENCE_SECONDS = 30.0
"""So long a claim is repeated: a controller that starts again is back by then."""
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 8.0

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

    def claim(self, entry: Entry, info: WorkerInfo) -> Lease | None:
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
            except UnavailableError as error:
                log.warning("claim unanswered: %s", error, extra=context)
                if self._clock() >= give_up_at:
                    self.avoid(entry.trial_id)
                    return None
                self._stopping.wait(backoff.next_seconds())
            else:
                log.info("claimed", extra=context | {"attempt": lease.attempt})
                self._settle(entry)
                return lease
        return None

    def avoid(self, trial_id: str) -> None:
        """Leave a trial to others for a while, longer each time."""
        seconds = self._avoidance.add(trial_id)
        log.warning("left to other workers for %.0f s", seconds, extra={"trial": trial_id})

    def _settle(self, entry: Entry) -> None:
        self._avoidance.forget(entry.trial_id)
        try:
            self._queue.acknowledge(entry)
        except QueueError as error:  # it will come again, and the claim will be refused
            log.warning("entry not acknowledged: %s", error, extra={"trial": entry.trial_id})
