"""Removes what trials that ended left in the state volume and nobody needs: checkpoints and logs of those that failed,
or were cancelled while no worker had them.

How long they stay is the controller's setting (keep_files_days). It alone knows which trials have ended; what it does
not know is left alone. All workers of a volume do this, and it does not matter which one comes first.
"""

import logging
from itertools import islice

from paploss.jobs.lease import FilesRequest
from paploss.worker.controller import Controller, RefusedError, UnavailableError
from paploss.worker.state import StateVolume
from paploss.worker.stopping import Stopping

_PAUSE_SECONDS = 3600.0
_TRIALS_AT_ONCE = 500

log = logging.getLogger(__name__)


def clear_volume(controller: Controller, volume: StateVolume) -> int:
    """Remove what the controller says may go; returns of how many trials.

    Raises:
        UnavailableError: the controller does not answer.
        RefusedError: it does not know the question.
        OSError: the volume cannot be read.
    """
    cleared = 0
    trial_ids = iter(volume.trial_ids())
    while some := tuple(islice(trial_ids, _TRIALS_AT_ONCE)):
        for trial_id in controller.find_removable_files(FilesRequest(trial_ids=some)).trial_ids:
            volume.remove(trial_id)
            cleared += 1
    return cleared


def keep_clear(controller: Controller, volume: StateVolume, stopping: Stopping) -> None:
    """Clear the volume now and every hour until `stopping` is set; what goes wrong is logged and tried again."""
    while not stopping.is_set():
        try:
            cleared = clear_volume(controller, volume)
        except (UnavailableError, RefusedError, OSError, ValueError) as error:
            log.warning("old files were not cleared: %s", error)
        else:
            if cleared:
                log.info("files of %d trials cleared", cleared)
        stopping.wait(_PAUSE_SECONDS)
