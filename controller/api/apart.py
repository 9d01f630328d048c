"""Work on a file in a process of its own, beside the server: whoever reads, checks or writes a large file holds the
interpreter, and every lease would wait for it.

The process inherits the file, reads settings from its standard input, and writes one line, its answer. It ends with its
server (a parent-death signal). It has the server's priority: on SQLite everybody waits for whoever holds the lock.
"""

import os
import subprocess
import sys
from typing import IO, NamedTuple

from pydantic import BaseModel

from paploss.controller.api.problems import RETRY, ProblemError, field_error
from paploss.controller.settings import SECRETS, Settings
from paploss.jobs.logs import start_logging
from paploss.processes import end_with


class Answer(BaseModel):
    """What the process says: the experiment, or why it cannot be done, as a problem document would."""

    experiment_id: str = ""
    status: int = 200
    detail: str = ""
    faults: dict[str, str] = {}


class Task(NamedTuple):
    """What the process is started with."""

    settings: Settings
    file_descriptor: int
    arguments: list[str]


def run(module: str, settings: Settings, file: IO[bytes], *arguments: object) -> Answer:
    """The answer of a module's process. To be called in a thread: it waits for the process.

    Raises:
        ProblemError: as the process says.
        CalledProcessError: the process has ended without an answer; its error is in the log.
    """
    answer = ask_process(module, settings, file, *arguments)
    if answer.status != 200:
        errors = [field_error("body", field.split("."), fault) for field, fault in answer.faults.items()]
        headers = RETRY if answer.status == 503 else None
        raise ProblemError(answer.status, answer.detail, errors=errors, headers=headers)
    return answer


def ask_process(module: str, settings: Settings, file: IO[bytes], *arguments: object) -> Answer:
    """What the process says. Raises CalledProcessError without an answer."""
    told = [os.getpid(), file.fileno(), *arguments]
    # In a process group of its own: a terminal's Ctrl-C is the server's.
    process = subprocess.run(
        [sys.executable, "-m", module, *map(str, told)],
        input=settings.model_dump_json(exclude=SECRETS).encode(),
        stdout=subprocess.PIPE,
        pass_fds=[file.fileno()],
        process_group=0,
        check=True,
    )
    return Answer.model_validate_json(process.stdout)


def begin() -> Task:
    """In the process: what is to be done; logging has begun."""
    server_pid, file_descriptor, *arguments = sys.argv[1:]
    end_with(int(server_pid))
    settings = Settings.model_validate_json(sys.stdin.buffer.read())
    start_logging(settings.log_level, settings.log_format)
    return Task(settings, int(file_descriptor), arguments)


def end(answer: Answer) -> None:
    """In the process: say what came of it."""
    sys.stdout.write(answer.model_dump_json())
