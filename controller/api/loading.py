"""Loading a dump in a process of its own, beside the server: whoever reads and checks a file holds the interpreter, and
every lease would wait for it.

The process inherits the file, reads settings from its standard input, and writes one line, its answer. It ends with its
server (a parent-death signal), and the kernel caps its memory and its processor time.
"""

import logging
import os
import resource
import signal
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO

from pydantic import BaseModel

from paploss.controller.api import shown
from paploss.controller.api.problems import NO_DATABASE, RETRY, STATUSES, ProblemError, field_error
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import make_services
from paploss.controller.data_roots import PathRefusedError
from paploss.controller.loop.driver import Driver, connect
from paploss.controller.settings import SECRETS, Settings
from paploss.controller.store import dumps
from paploss.controller.store.database import UNAVAILABLE, Database
from paploss.controller.store.errors import ConflictError, DumpError
from paploss.jobs.logs import start_logging
from paploss.jobs.queue import TrialQueue
from paploss.processes import end_with

logger = logging.getLogger(__name__)

MOST_UNPACKED = 20
"""How many times as large a file may be unpacked: this program's own are three to ten times as large."""
MOST_MEMORY_BYTES = 1 << 30
"""Beyond what the program itself takes; rows are read and stored a few hundred at a time."""
MOST_PROCESSOR_SECONDS = 3600
"""A file of a million trials takes a fraction of it."""


class Answer(BaseModel):
    """What the process says: the experiment that it has stored, or why none, as a problem document would."""

    experiment_id: str = ""
    status: int = 201
    detail: str = ""
    faults: dict[str, str] = {}


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
        RuntimeError: the process has ended without an answer; its error is in the log.
    """
    answer = ask_process(settings, file, project, memory_bytes, processor_seconds)
    if answer.status != 201:
        errors = [field_error("body", field.split("."), fault) for field, fault in answer.faults.items()]
        headers = RETRY if answer.status == 503 else None
        raise ProblemError(answer.status, answer.detail, errors=errors, headers=headers)
    return answer.experiment_id


def ask_process(
    settings: Settings, file: IO[bytes], project: str | None, memory_bytes: int, processor_seconds: int
) -> Answer:
    """What the process says of a file.

    Raises:
        RuntimeError: it has ended without an answer.
    """
    told = [os.getpid(), file.fileno(), memory_bytes, processor_seconds]
    command = [sys.executable, "-m", "paploss.controller.api.loading", *map(str, told), project or ""]
    # In a process group of its own: a terminal's Ctrl-C is the server's.
    process = subprocess.run(
        command,
        input=settings.model_dump_json(exclude=SECRETS).encode(),
        stdout=subprocess.PIPE,
        pass_fds=[file.fileno()],
        process_group=0,
        check=False,
    )
    if process.returncode == -signal.SIGXCPU:
        detail = f"reading the file takes more than {processor_seconds} s of processor time"
        return Answer(status=422, detail=detail)
    if process.returncode != 0:
        raise RuntimeError(f"the process that loads a file has ended with status {process.returncode}")
    return Answer.model_validate_json(process.stdout)


def main() -> None:
    """The process: `python -m paploss.controller.api.loading SERVER_PID FILE_DESCRIPTOR BYTES SECONDS PROJECT`."""
    server_pid, descriptor, memory_bytes, processor_seconds = map(int, sys.argv[1:5])
    end_with(server_pid)
    most_bytes = _own_bytes() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (processor_seconds, resource.RLIM_INFINITY))  # ends it by SIGXCPU
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    start_logging(settings.log_level, settings.log_format)
    try:
        with os.fdopen(descriptor, "rb") as file:
            answer = answer_of(settings, file, sys.argv[5] or None)
    except MemoryError:
        answer = Answer(status=422, detail=f"reading the file takes more than {memory_bytes >> 20} MiB of memory")
    sys.stdout.write(answer.model_dump_json())


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
