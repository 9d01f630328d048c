"""Getting results to the controller: kept on disk first, repeated until there is a definite answer.

A slot delivers its own result. What goes unanswered for a while it leaves to a thread beside the slots, so that neither
a controller that is away nor a result that it cannot answer for keeps a slot from its next trial.
"""

import logging
import time
from collections import deque
from collections.abc import Callable

from paploss.backoff import Backoff
from paploss.jobs.lease import ResultRequest
from paploss.worker.controller import Controller, RefusedError, UnavailableError
from paploss.worker.state import FINAL_STATES, AttemptFolder, StateVolume
from paploss.worker.stopping import Stopping

_PATIENCE_SECONDS = 30.0
"""So long a slot tries to deliver."""
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 15.0

log = logging.getLogger(__name__)


class Deliveries:
    """Results on their way to the controller."""

    def __init__(
        self,
        controller: Controller,
        volume: StateVolume,
        stopping: Stopping,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._controller = controller
        self._volume = volume
        self._stopping = stopping
        self._left_over: deque[tuple[AttemptFolder, ResultRequest]] = deque()

    def deliver(self, folder: AttemptFolder, request: ResultRequest) -> RefusedError | None:
        """Deliver a result; what is then no longer needed is removed.

        A result that goes unanswered is left to `deliver_left_over`, or, when this worker is to end, to the next one.

        Returns:
            The refusal, if it was refused.
        """
        give_up_at = self._clock() + _PATIENCE_SECONDS
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            try:
                self._ask(folder, request)
            except RefusedError as error:
                return error
            except UnavailableError:
                if self._stopping.wait(backoff.next_seconds()):
                    return None
                if self._clock() >= give_up_at:
                    self._left_over.append((folder, request))
                    return None
            else:
                return None

    def deliver_left_over(self) -> None:
        """Until this worker is to end, deliver what earlier ones on its volume could not, and its own slots cannot."""
        try:
            for folder in self._volume.undelivered():
                if (request := folder.result()) is not None:
                    self._left_over.append((folder, request))
        except OSError as error:
            log.warning("what earlier workers left could not be read: %s", error)
        # All workers of a controller that restarts have results left over: each comes at a time of its own.
        pauses = Backoff(_LONGEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, least_part=0.5)
        while not self._stopping.is_set():
            for _ in range(len(self._left_over)):
                if self._stopping.is_set():
                    return
                folder, request = self._left_over.popleft()
                try:
                    self._ask(folder, request)
                except RefusedError:
                    continue
                except UnavailableError:
                    self._left_over.append((folder, request))
            self._stopping.wait(pauses.next_seconds())

    def _ask(self, folder: AttemptFolder, request: ResultRequest) -> None:
        """Deliver once. Raises RefusedError, UnavailableError."""
        context = {"trial": request.trial_id, "outcome": request.result.outcome}
        try:
            state = self._controller.report(request).state
        except RefusedError as error:
            for part, nothing in (("analysis", None), ("evaluations", ())):  # too large, perhaps
                if getattr(request, part) and not error.lease_lost:
                    log.warning("refused, the result goes without its %s: %s", part, error, extra=context)
                    self._ask(folder, request.model_copy(update={part: nothing}))
                    return
            log.warning("result refused: %s", error, extra=context)
            _note_answer(folder, f"refused: {error}")
            raise
        except UnavailableError as error:
            log.warning("result kept, the controller does not answer: %s", error, extra=context)
            raise
        log.info("result delivered", extra=context | {"state": state, "reward": request.result.reward})
        _note_answer(folder, state)
        _clear(self._volume, folder, request.trial_id, state)


def _note_answer(folder: AttemptFolder, answer: str) -> None:
    try:
        folder.write_answer(answer)
    except OSError as error:  # the answer to a repeated delivery is the same
        log.warning("the answer to a result could not be noted: %s", error)


def _clear(volume: StateVolume, folder: AttemptFolder, trial_id: str, state: str) -> None:
    job = folder.job()
    if state not in FINAL_STATES or job is None:
        return
    if job.continues is not None:
        volume.remove(job.continues)
    is_wanted = job.kind == "final" or (job.length < 1 and state == "succeeded")
    if not is_wanted:  # a final training's weights are its product, and a short one's checkpoint may be continued
        volume.remove(trial_id)
