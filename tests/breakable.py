"""A platform whose every connection and server a test can break."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from disturbances import HASTY
from servers import PostgresServer, RedisServer, free_port
from stack import Stack, wait_until
from wire import Wire


@dataclass(frozen=True)
class Breakable:
    """A controller on servers of its own, a wire in each of its connections."""

    stack: Stack
    redis: RedisServer
    postgres: PostgresServer
    to_redis: Wire
    """From the controller and the workers."""
    to_postgres: Wire
    """From the controller; the test itself reads the database beside it."""
    to_controller: Wire
    """From the workers that `start_worker` starts."""
    wired_database_url: str

    def start_controller(self) -> None:
        """The controller, behind the wire to its database."""
        self.stack.start_controller(PAPLOSS_DATABASE_URL=self.wired_database_url)

    def start_worker(self, name: str, **settings: str) -> None:
        """A worker, behind the wire to the controller."""
        self.stack.start_worker(name, **{"PAPLOSS_CONTROLLER_URL": self.to_controller.http_url} | settings)

    def start_replica(self) -> int:
        """A second controller, as soon as it serves; its port."""
        port = free_port()
        self.stack.start_replica("replica", port)
        wait_until(lambda: is_ready(port), "the second controller to be ready")
        return port

    def kill_replica(self) -> None:
        """End the second controller, if there is one."""
        for process in self.stack.replicas.values():
            process.kill()
            process.wait()
        self.stack.replicas.clear()

    def send_workers_to(self, port: int) -> None:
        """Have the workers' wire end at another controller, for connections that are open too."""
        self.to_controller.target = ("127.0.0.1", port)
        self.to_controller.cut()
        self.to_controller.repair()

    def repair(self) -> None:
        """Make every wire whole."""
        for wire in (self.to_redis, self.to_postgres, self.to_controller):
            wire.repair()
            wire.delay_seconds = 0.0


def is_ready(port: int) -> bool:
    """Whether the controller at a port can do its work."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False


@contextmanager
def breakable_platform(folder: Path, redis: RedisServer, postgres: PostgresServer) -> Iterator[Breakable]:
    """A platform over two running servers that are nobody else's."""
    url = postgres.create_database()
    name = url.partition("?")[0].rpartition("/")[2]
    with (
        Wire(("127.0.0.1", redis.port)) as to_redis,
        Wire(postgres.folder / ".s.PGSQL.5432") as to_postgres,
        Stack(folder, to_redis.redis_url, url, **HASTY) as stack,
        Wire(("127.0.0.1", stack.port)) as to_controller,
    ):
        wired_url = f"postgresql+psycopg://postgres@127.0.0.1:{to_postgres.port}/{name}"
        platform = Breakable(stack, redis, postgres, to_redis, to_postgres, to_controller, wired_url)
        platform.start_controller()
        yield platform
