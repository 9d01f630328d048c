"""`python -m paploss.worker`: run trials until told to stop.

SIGTERM has trainings leave a checkpoint, releases their leases and ends with status 0.
"""

import logging
import signal
import sys

from pydantic import ValidationError

from paploss.client.errors import UnreachableError
from paploss.jobs.logs import start_logging
from paploss.jobs.queue import QueueError, TrialQueue
from paploss.worker.controller import Controller
from paploss.worker.gpus import find_gpu_fault
from paploss.worker.machine import describe
from paploss.worker.settings import Settings
from paploss.worker.state import StateVolume
from paploss.worker.supervisor import Supervisor

BAD_SETTINGS = 2
NO_GPU = (
    "is the device plugin's runtime class in force (workers.runtimeClassName), does the node's driver fit this torch, "
    "and does nvidia-smi answer on the node?"
)

log = logging.getLogger(__name__)


def main() -> int:
    """Run a worker; returns its exit status: 0, 1 (rejected by the controller), 2 (bad settings, too few GPUs)."""
    try:
        settings = Settings(_cli_parse_args=True)
    except ValidationError as error:
        reason = "; ".join(_describe(problem["loc"], problem["msg"]) for problem in error.errors())
        print(f"worker: {reason}", file=sys.stderr)  # noqa: T201 (before there is a log)
        return BAD_SETTINGS
    info = describe(settings.name)
    start_logging(settings.log_level, settings.log_format, worker=info.name)
    log.info("worker started", extra={"machine": info.model_dump(), "slots": settings.slots})
    wanted = max(settings.gpus or (0,))
    if wanted and settings.check_gpus and (fault := find_gpu_fault(wanted)):
        return _refuse(f"gpus: {fault}; {NO_GPU}")
    try:
        queue = TrialQueue(settings.redis_url)
        controller = Controller(settings.controller_url, settings.api_key)
        volume = StateVolume(settings.state_dir)
    except UnreachableError as error:
        return _refuse(f"controller_url: {error}")
    except QueueError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"state_dir: cannot use {settings.state_dir}: {error.strerror}")
    with queue, controller:
        supervisor = Supervisor(settings, info, queue, controller, volume)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop())
        return supervisor.run()


def _describe(location: tuple[int | str, ...], message: str) -> str:
    where = ".".join(map(str, location))
    return f"{where}: {message}" if where else message.removeprefix("Value error, ")


def _refuse(reason: str) -> int:
    log.error(reason)
    return BAD_SETTINGS


if __name__ == "__main__":
    sys.exit(main())
