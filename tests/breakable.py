"""A platform whose every connection and server a test can break."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from disturbances import HASTY
from servers import PostgresServer, RedisServer
from stack import Stack
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

    def mend(self) -> None:
        """Make every wire whole."""
        for wire in (self.to_redis, self.to_postgres, self.to_controller):
            wire.mend()
            wire.delay_seconds = 0.0


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
