"""One trainer at work: a subreaper as child process, all of the training under it, its events read as they come."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from pydantic import ValidationError

from paploss.jobs.analysis import Analysis
from paploss.jobs.profiles import COMMAND
from paploss.jobs.spec import (
    EVENT,
    MOST_EVALUATIONS,
    AnalysisEvent,
    CheckpointEvent,
    EvaluationEvent,
    Event,
    JobResult,
    JobSpec,
    ProgressEvent,
    StartEvent,
)

_SUBREAPER = Path(__file__).with_name("subreaper.py")
_MAX_LINE_BYTES = 10_000_000
"""More than the metrics of 10,000 classes with the longest names."""

log = logging.getLogger(__name__)


def trainer_command(job: JobSpec, job_file: Path, state_dir: Path, operators: Sequence[str] | None) -> list[str]:
    """The command that runs a job; where it needs several GPUs, the trainer starts one process for each itself.

    Args:
        job: chooses between our trainer and the operator's by its profile, and says no more of the command than that.
        job_file: the same job.
        state_dir: for the training's files.
        operators: program and arguments for the profile `command`. Without them our trainer answers, with an error.
    """
    ours = [sys.executable, "-m", "paploss.trainer", "run"]
    program = operators if job.profile == COMMAND.name and operators else ours
    return [*program, str(job_file), "--state", str(state_dir)]


class Training:
    """A running trainer and what it has said so far.

    Attributes are written by one reading thread and read by any. Standard error, and lines of standard output that
    are no events, go to `log_file`.
    """

    def __init__(
        self, command: Sequence[str], log_file: Path, environment: Mapping[str, str], when_ended: Callable[[], None]
    ) -> None:
        """Start `command`. `when_ended` is called once, from another thread, when all that it started is gone."""
        self.start: StartEvent | None = None
        self.progress: ProgressEvent | None = None
        self.evaluations: tuple[EvaluationEvent, ...] = ()
        self.analysis: Analysis | None = None
        self.checkpoint: CheckpointEvent | None = None
        self.result: JobResult | None = None
        self.exit_status: int | None = None
        self._when_ended = when_ended
        self._log_file = log_file
        lifeline_read_fd, lifeline_fd = os.pipe()
        self._lifeline_fd: int | None = lifeline_fd
        try:
            with log_file.open("ab") as stderr:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_SUBREAPER), str(lifeline_read_fd), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=dict(environment),
                    pass_fds=(lifeline_read_fd,),
                    start_new_session=True,
                )
        except OSError:
            os.close(lifeline_fd)
            raise
        finally:
            os.close(lifeline_read_fd)
        self._signalling = threading.Lock()
        stdout = cast(IO[bytes], self._process.stdout)
        self._reader = threading.Thread(target=self._read_events, args=(stdout,), name="trainer-events", daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_end, name="trainer-end", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether every process is gone and every event read."""
        return self.exit_status is not None

    @property
    def pid(self) -> int:
        """Process and process group id of the subreaper, the trainer's parent."""
        return self._process.pid

    def terminate(self) -> None:
        """Ask for a checkpoint and an end (SIGTERM to the trainer)."""
        with self._signalling:
            if self._process.returncode is None:
                os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Have every process of the training killed now, in whatever group or session it is."""
        with self._signalling:
            self._cut_lifeline()

    def _cut_lifeline(self) -> None:
        if self._lifeline_fd is not None:
            os.close(self._lifeline_fd)
            self._lifeline_fd = None

    def log_tail(self, max_bytes: int = 4000) -> str:
        """The end of the log file, from the start of a line where there is one."""
        try:
            with self._log_file.open("rb") as file:
                size_bytes = file.seek(0, os.SEEK_END)
                file.seek(max(0, size_bytes - max_bytes))
                tail = file.read(max_bytes)
        except OSError as error:
            return f"(log not readable: {error})"
        if size_bytes > max_bytes:
            tail = tail[tail.find(b"\n") + 1 :]
        return tail.decode(errors="replace")

    def _read_events(self, stdout: IO[bytes]) -> None:
        with stdout, self._log_file.open("ab", buffering=0) as log_file:
            while line := stdout.readline(_MAX_LINE_BYTES):
                try:
                    self._take(EVENT.validate_json(line))
                except ValidationError:
                    _append(log_file.fileno(), line)

    def _take(self, event: Event) -> None:
        match event:
            case StartEvent():
                self.start = event
            case ProgressEvent():
                self.progress = event
            case EvaluationEvent():
                if len(self.evaluations) < MOST_EVALUATIONS:  # messages hold no more
                    self.evaluations = (*self.evaluations, event)
            case AnalysisEvent():
                self.analysis = event.analysis
            case CheckpointEvent():
                self.checkpoint = event
            case JobResult():
                self.result = event

    def _await_end(self) -> None:
        # The subreaper ends when all is gone. Where it was killed itself, the process group is what can still be
        # reached; WNOWAIT leaves it a zombie, so that the group's id cannot be anybody else's meanwhile.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with self._signalling:
            os.killpg(self._process.pid, signal.SIGKILL)
            status = self._process.wait()
            self._cut_lifeline()
        self._reader.join(timeout=10)  # a process that hangs in the kernel may hold the pipe open for ever
        self.exit_status = status
        self._when_ended()


def _append(fd: int, line: bytes) -> None:
    try:
        os.write(fd, line)
    except OSError as error:  # a full disk must not end the reading of events
        log.warning("a line of the trainer's output could not be kept: %s", error)
