"""The servers under load: PostgreSQL, Redis and controllers as real processes, and what they spend."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from sqlalchemy import func, select, text

from paploss.client.sync_client import Client
from paploss.controller.store import schema
from paploss.controller.store.access.keys import create_key
from paploss.controller.store.database import Database
from tests.servers import PostgresServer, RedisServer

READY_SECONDS = 300


@dataclass
class LoadedPlatform:
    """Running servers; `urls` has one address for each controller."""

    database: Database
    redis_url: str
    urls: list[str]
    user_key: str
    admin_key: str
    worker_key: str
    processes: Mapping[str, list[psutil.Process]]

    def client(self) -> Client:
        """For whoever starts searches; to be closed by the caller."""
        return Client(self.urls[0], self.user_key)

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time that each kind of server has used so far, its children included."""
        return {kind: sum(map(_cpu_seconds, processes)) for kind, processes in self.processes.items()}

    def controller_mib(self) -> int:
        """Resident memory of the largest controller, with the process of its leader's loop."""
        return round(max(map(_resident_bytes, self.processes["controller"])) / 2**20)

    def connections(self) -> int:
        """Connections that the controllers hold to the database, this process's own left out."""
        own = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ''"
        with self.database.read() as session:
            return int(session.execute(text(own)).scalar_one())

    def database_mib(self) -> int:
        """Size of the database."""
        with self.database.read() as session:
            size: int = session.execute(select(func.pg_database_size(func.current_database()))).scalar_one()
        return round(size / 2**20)


@contextmanager
def run_platform(controllers: int, *, is_sqlite: bool = False) -> Iterator[LoadedPlatform]:
    """PostgreSQL with its default durability, Redis and so many controllers; all end with the context.

    `is_sqlite`: on a SQLite file instead, which is for one controller.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paploss-load-")))
        postgres, redis = PostgresServer(durable=True), RedisServer()
        for server in (postgres, redis):
            stack.callback(server.close)
            server.start()
        url = f"sqlite:///{folder / 'load.db'}" if is_sqlite else postgres.create_database()
        database = Database(url if is_sqlite else f"{url}&application_name=benchmark")
        stack.callback(database.close)
        schema.upgrade(database)
        with database.write() as session:
            user_key = create_key(session, "load-user", "user")
            admin_key = create_key(session, "load-admin", "admin")
            worker_key = create_key(session, "load-worker", "worker")
        started, urls = [], []
        for _ in range(controllers):
            port = _free_port()
            started.append(stack.enter_context(_run_controller(url, redis.url, port, folder)))
            urls.append(f"http://127.0.0.1:{port}")
        processes = {
            "controller": started,
            "postgres": [psutil.Process(postgres.process.pid)] if postgres.process else [],
            "redis": [psutil.Process(redis.process.pid)] if redis.process else [],
        }
        yield LoadedPlatform(database, redis.url, urls, user_key, admin_key, worker_key, processes)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _run_controller(database_url: str, redis_url: str, port: int, folder: Path) -> Iterator[psutil.Process]:
    environment = os.environ | {
        "PAPLOSS_DATABASE_URL": database_url,
        "PAPLOSS_REDIS_URL": redis_url,
        "PAPLOSS_STATE_DIR": str(folder),
        "PAPLOSS_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    log = folder / f"controller-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "paploss.cli", "serve"], env=environment, stdout=output, stderr=output
        )
    try:
        _await_ready(f"http://127.0.0.1:{port}", process, log)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _await_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the controller does not come up:\n{log.read_text()[-2000:]}")


def _resident_bytes(process: psutil.Process) -> int:
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def _cpu_seconds(process: psutil.Process) -> float:
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        # A server's backends that have ended are among its children's time.
        total += times.user + times.system + (times.children_user + times.children_system if each is process else 0)
    return total
