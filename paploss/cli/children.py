"""Processes that `paploss up` starts: each in a session of its own, logging to a file, ending with its parent."""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from paploss.processes import ending_with_parent

_MANY_RESTARTS = 5
_SHORT_SECONDS = 60.0
_TAIL_BYTES = 2000


class ChildFailedError(Exception):
    """A child process does not come up, or dies again and again."""


class Child:
    """One process that is kept running.

    Start it from the main thread: the kernel ends it when the thread that started it is gone, which must mean that the
    process is gone, also after kill -9.
    """

    def __init__(self, name: str, command: Sequence[str], log_file: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._command = list(command)
        self._log_file = log_file
        self._environment = dict(environment)
        self._starts: list[float] = []
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Process id of the present incarnation."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def revive(self) -> bool:
        """Start the process again if it has ended; returns whether it had.

        Raises:
            ChildFailedError: it ends as soon as it is started; the end of its log is in the message.
        """
        if self.running:
            return False
        recent = [start for start in self._starts if start > time.monotonic() - _SHORT_SECONDS]
        if len(recent) >= _MANY_RESTARTS:
            raise ChildFailedError(f"{self.name} ended {len(recent)} times in a minute; {self.log_tail()}")
        self._process = self._start()
        return True

    def terminate(self) -> None:
        """Ask it to end."""
        if self.running:
            self._process.terminate()

    def await_end(self, seconds: float) -> None:
        """Wait for its end, for `seconds` at most, then kill it."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log_tail(self) -> str:
        """The end of its log, with the file's name."""
        text = self._log_file.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        return f"the end of {self._log_file}:\n{text}"

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts.append(time.monotonic())
        with self._log_file.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent, which ends its children in order
                preexec_fn=ending_with_parent(signal.SIGTERM),  # noqa: PLW1509 (one prctl, no lock is taken)
            )
