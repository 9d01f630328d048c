"""The leader's loop in a process of its own, beside a server of many workers.

A thread of the server waits three quarters of its time for the interpreter lock, which requests hold, and the queues
run dry meanwhile (measured with `benchmarks.load`; DECISIONS.md).

The server writes the settings to its standard input, then a byte for each wake-up, and closes it at the end: so the
process ends with its server, however that ends.
"""

import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress

from paploss.controller.api.tracing import start_tracing
from paploss.controller.loop.driver import Driver, Loop, connect
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database, DatabaseError
from paploss.controller.store.leadership import find_leader, new_holder
from paploss.jobs.logs import start_logging
from paploss.jobs.queue import TrialQueue

logger = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
KILL_SECONDS = 15.0
"""How long a process that is told to end has for its current tick."""

_SECRETS = {"admin_key", "worker_key", "viewer_key", "oidc_client_secret"}  # not needed by the loop


class DriverProcess:
    """Drives all searches, as `Driver` does, in a process that is restarted if it ends."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """`database`: tells whether the process leads."""
        self._database = database
        self._told = settings.model_dump_json(exclude=_SECRETS).encode() + b"\n"
        self._holder = new_holder()
        self._process: subprocess.Popen[bytes] | None = None
        self._killing = threading.Timer(0, lambda: None)
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    @property
    def leads(self) -> bool:
        """Whether the process leads now."""
        try:
            with self._database.read() as session:
                leader = find_leader(session)
        except DatabaseError:
            return False
        return leader is not None and leader.holder == self._holder

    def run(self) -> None:
        """Keep the process running until `stop` is called; errors are logged and retried."""
        while not self._stopping.is_set():
            try:
                status = self._run_once()
            except OSError as error:
                logger.error("the leader's loop cannot be started: %s", error)
            else:
                if self._stopping.is_set():
                    return
                logger.error("the leader's loop has ended with status %d and will be started again", status)
            self._stopping.wait(RESTART_SECONDS)

    def wake(self) -> None:
        """Ask for a tick now: something has changed."""
        # Nothing is lost where the process is gone, or has not read earlier bytes yet.
        with self._lock, suppress(BlockingIOError, BrokenPipeError):
            if self._process is not None and self._process.stdin is not None and not self._process.stdin.closed:
                os.write(self._process.stdin.fileno(), b"\n")

    def stop(self) -> None:
        """End the process after the tick that it is in, and `run` with it."""
        self._stopping.set()
        with self._lock:
            self._end()

    def _run_once(self) -> int:
        """The exit status of the process, once it has ended."""
        # In a process group of its own: a terminal's Ctrl-C is the server's, which then ends this process.
        command = [sys.executable, "-m", "paploss.controller.api.driving", self._holder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, process_group=0) as process:
            assert process.stdin is not None  # noqa: S101 - as asked for
            with suppress(BrokenPipeError):
                process.stdin.write(self._told)
            os.set_blocking(process.stdin.fileno(), False)
            with self._lock:
                self._process = process
                if self._stopping.is_set():
                    self._end()
            status = process.wait()
            with self._lock:
                self._process = None
                self._killing.cancel()
        return status

    def _end(self) -> None:
        """Close the pipe; a process that does not end then is killed."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._killing = threading.Timer(KILL_SECONDS, self._process.kill)
            self._killing.daemon = True
            self._killing.start()


def make_driver(database: Database, queue: TrialQueue, settings: Settings) -> Loop:
    """The loop of a serving controller. With SQLite, where everything is on one machine, a thread is enough and saves a
    process of a hundred MB."""
    return Driver(database, queue, settings) if database.is_sqlite else DriverProcess(database, settings)


def main() -> None:
    """The process: `python -m paploss.controller.api.driving HOLDER`."""
    settings = Settings.model_validate_json(sys.stdin.buffer.readline())
    start_logging(settings.log_level, settings.log_format)
    database, queue = connect(settings)
    driver = Driver(database, queue, settings, holder=sys.argv[1])
    threading.Thread(target=_obey, args=(driver,), name="server", daemon=True).start()
    end_tracing = start_tracing(database)
    driver.run()
    end_tracing()
    queue.close()
    database.close()


def _obey(driver: Driver) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        driver.wake()
    driver.stop()


if __name__ == "__main__":
    main()
