"""Loading a dump in a process of its own, whose memory and processor time the kernel caps: it comes from elsewhere."""

import logging
import os
import resource
import signal
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO

from paploss.controller.api import apart, shown
from paploss.controller.api.apart import Answer
from paploss.controller.api.problems import NO_DATABASE, STATUSES, ProblemError
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import make_services
from paploss.controller.data_roots import PathRefusedError
from paploss.controller.loop.driver import Driver, connect
from paploss.controller.settings import Settings
from paploss.controller.store import dumps
from paploss.controller.store.database import UNAVAILABLE, Database
from paploss.controller.store.errors import ConflictError, DumpError
from paploss.jobs.queue import TrialQueue

logger = logging.getLogger(__name__)

MOST_UNPACKED = 20
"""How many times as large a file may be unpacked: this program's own are three to ten times as large."""
MOST_MEMORY_BYTES = 1 << 30
"""Beyond what the program itself takes; rows are read and stored a few hundred at a time."""
MOST_PROCESSOR_SECONDS = 3600
"""A file of a million trials takes a fraction of it."""


def load(
    settings: Settings,
    file: IO[bytes],
    project: str | None = None,
    *,
    memory_bytes: int = MOST_MEMORY_BYTES,
    processor_seconds: int = MOST_PROCESSOR_SECONDS,
) -> str:
    """Store the experiment of a file, in a project or in its own; returns its id.

    To be called in a thread: it waits for the process.

    Raises:
        ProblemError: the file is refused (409, 422), or the database does not answer (503).
        CalledProcessError: the process has ended without an answer; its error is in the log.
    """
    try:
        limits = memory_bytes, processor_seconds
        return apart.run(__name__, settings, file, *limits, project or "").experiment_id
    except subprocess.CalledProcessError as error:
        if error.returncode != -signal.SIGXCPU:
            raise
        detail = f"reading the file takes more than {processor_seconds} s of processor time"
        raise ProblemError(422, detail) from error


def main() -> None:
    """The process: `python -m paploss.controller.api.loading SERVER_PID FILE_DESCRIPTOR BYTES SECONDS PROJECT`."""
    task = apart.begin()
    *limits, project = task.arguments
    memory_bytes, processor_seconds = map(int, limits)
    most_bytes = _own_bytes() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (processor_seconds, resource.RLIM_INFINITY))  # ends it by SIGXCPU
    try:
        with os.fdopen(task.file_descriptor, "rb") as file:
            answer = answer_of(task.settings, file, project or None)
    except MemoryError:
        answer = Answer(status=422, detail=f"reading the file takes more than {memory_bytes >> 20} MiB of memory")
    apart.end(answer)


def answer_of(settings: Settings, file: IO[bytes], project: str | None) -> Answer:
    """Store the experiment of a file, in this process."""
    database, queue = connect(settings)
    with closing(database), closing(queue):
        return _store(settings, database, queue, file, project)


def _store(settings: Settings, database: Database, queue: TrialQueue, file: IO[bytes], project: str | None) -> Answer:
    services = make_services(settings, database, queue, Driver(database, queue, settings), scaler=None, reconciler=None)
    try:
        experiment_id = dumps.load(
            database,
            file,
            settings.data_roots,
            most_bytes=MOST_UNPACKED * settings.max_load_bytes,
            try_views=partial(shown.try_views, services, Caller("load", "admin")),
            project=project,
        )
    except PathRefusedError as error:
        return Answer(status=422, detail=str(error), faults=error.faults)
    except (ConflictError, DumpError) as error:
        return Answer(status=STATUSES[type(error)], detail=str(error))
    except UNAVAILABLE as error:
        logger.error("loading a file: %s", error)
        return Answer(status=503, detail=NO_DATABASE)
    return Answer(experiment_id=experiment_id)


def _own_bytes() -> int:
    """The process's address space now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
