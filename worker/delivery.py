"""Getting results to the controller: kept on disk first, repeated until there is a definite answer."""

import logging
import threading

from jobs.lease import ResultRequest
from worker.controller import Controller, RefusedError, UnavailableError
from worker.state import FINAL_STATES, AttemptFolder, StateVolume

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0

log = logging.getLogger(__name__)


def deliver(
    controller: Controller,
    volume: StateVolume,
    folder: AttemptFolder,
    request: ResultRequest,
    stopping: threading.Event,
) -> bool:
    """Deliver a result, however long the controller is away; what is then no longer needed is removed.

    Returns False when `stopping` was set before there was an answer: the result stays on disk for the next worker.
    """
    context = {"trial": request.trial_id, "outcome": request.result.outcome}
    pause_seconds = _FIRST_PAUSE_SECONDS
    while True:
        try:
            state = controller.report(request).state
        except RefusedError as error:
            log.warning("result refused: %s", error, extra=context)
            _note_answer(folder, f"refused: {error}")
            return True
        except UnavailableError as error:
            log.warning("result kept, the controller does not answer: %s", error, extra=context)
        else:
            log.info("result delivered", extra=context | {"state": state, "reward": request.result.reward})
            _note_answer(folder, state)
            _clear(volume, folder, request.trial_id, state)
            return True
        if stopping.wait(pause_seconds):
            return False
        pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)


def deliver_left_over(controller: Controller, volume: StateVolume, stopping: threading.Event) -> None:
    """Deliver what earlier workers on this state volume could not."""
    for folder in volume.undelivered():
        if stopping.is_set():
            return
        request = folder.result()
        if request is not None:
            deliver(controller, volume, folder, request, stopping)


def _note_answer(folder: AttemptFolder, answer: str) -> None:
    try:
        folder.write_answer(answer)
    except OSError as error:  # the answer to a repeated delivery is the same
        log.warning("the answer to a result could not be noted: %s", error)


def _clear(volume: StateVolume, folder: AttemptFolder, trial_id: str, state: str) -> None:
    job = folder.job()
    if state in FINAL_STATES and job is not None and job.kind != "final":  # a final training's weights are its product
        volume.prune(trial_id)
