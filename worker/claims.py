"""Turning queue entries into leases. No trial for which the controller has no answer may hold up the others."""

import logging
import time
from dataclasses import dataclass
from uuid import uuid4

from paploss.jobs.lease import ClaimRequest, Lease, WorkerInfo
from paploss.jobs.queue import Entry, QueueError, TrialQueue
from paploss.worker.backoff import Backoff
from paploss.worker.controller import Controller, MismatchError, RefusedError, UnavailableError
from paploss.worker.stopping import Stopping

_PATIENCE_SECONDS = 30.0
"""So long a claim is repeated: a controller that starts again is back by then."""
_PAUSE_SECONDS = 2.0
_FIRST_AVOIDANCE_SECONDS = 30.0
_LONGEST_AVOIDANCE_SECONDS = 120.0

log = logging.getLogger(__name__)


@dataclass
class _Avoided:
    """A trial that is left to others until a time has come, and then for longer."""

    backoff: Backoff
    until: float


class Claims:
    """Claims trials for all slots of a worker."""

    def __init__(self, controller: Controller, queue: TrialQueue, stopping: Stopping) -> None:
        self._controller = controller
        self._queue = queue
        self._stopping = stopping
        self._avoided: dict[str, _Avoided] = {}

    def claim(self, entry: Entry, info: WorkerInfo) -> Lease | None:
        """The lease; none where the trial is not to be had, the claim goes unanswered, or the worker stops.

        The entry is acknowledged after a definite answer. Otherwise the queue hands it to the next worker that asks.

        Raises:
            MismatchError: the controller has no use for this worker.
        """
        context = {"trial": entry.trial_id}
        avoided = self._avoided.get(entry.trial_id)
        if avoided is not None and time.monotonic() < avoided.until:
            return None
        # One id for all repetitions: where the reply to the first was lost, the second gets the same lease.
        request = ClaimRequest(claim_id=uuid4(), trial_id=entry.trial_id, worker=info)
        give_up_at = time.monotonic() + (_PATIENCE_SECONDS if avoided is None else 0)
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
                if time.monotonic() >= give_up_at:
                    self.avoid(entry.trial_id)
                    return None
                self._stopping.wait(_PAUSE_SECONDS)
            else:
                log.info("claimed", extra=context | {"attempt": lease.attempt})
                self._settle(entry)
                return lease
        return None

    def avoid(self, trial_id: str) -> None:
        """Leave a trial to others for a while, longer each time."""
        backoff = Backoff(_FIRST_AVOIDANCE_SECONDS, _LONGEST_AVOIDANCE_SECONDS)
        avoided = self._avoided.setdefault(trial_id, _Avoided(backoff, until=0))
        seconds = avoided.backoff.next_seconds()
        avoided.until = time.monotonic() + seconds
        log.warning("left to other workers for %g s", seconds, extra={"trial": trial_id})

    def _settle(self, entry: Entry) -> None:
        self._avoided.pop(entry.trial_id, None)
        try:
            self._queue.acknowledge(entry)
        except QueueError as error:  # it will come again, and the claim will be refused
            log.warning("entry not acknowledged: %s", error, extra={"trial": entry.trial_id})
