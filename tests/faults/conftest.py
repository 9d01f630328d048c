"""What a search comes to when nobody disturbs it, and platforms to break."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from breakable import Breakable, breakable_platform
from disturbances import SEARCH, expect_same
from scenarios import outcome
from servers import PostgresServer, RedisServer, serving
from stack import Stack


@pytest.fixture(scope="package")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> dict[str, Any]:
    """The outcome of `SEARCH`, run by the same programs on SQLite, with no fault."""
    with Stack(tmp_path_factory.mktemp("undisturbed"), redis_server.url) as stack:
        stack.start_controller()
        for name in ("w0", "w1"):
            stack.start_worker(name)
        experiment_id = stack.submit(**SEARCH)
        stack.wait_for(experiment_id, "succeeded")
        found = outcome(stack.database, experiment_id)
        expect_same(stack, experiment_id, found)
    return found


@pytest.fixture(scope="package")
def own_redis() -> Iterator[RedisServer]:
    """A redis-server that these tests may kill."""
    yield from serving(RedisServer)


@pytest.fixture(scope="package")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that these tests may kill."""
    yield from serving(PostgresServer)


@pytest.fixture(scope="package")
def breakable(
    tmp_path_factory: pytest.TempPathFactory, own_redis: RedisServer, own_postgres: PostgresServer
) -> Iterator[Breakable]:
    """One platform for all of them: starting one takes seconds."""
    with breakable_platform(tmp_path_factory.mktemp("breakable"), own_redis, own_postgres) as platform:
        yield platform


@pytest.fixture
def platform(breakable: Breakable, tmp_path: Path) -> Iterator[Breakable]:
    """The platform, whole and without workers, with an empty state volume."""
    breakable.stack.state = tmp_path / "state"
    yield breakable
    breakable.repair()
    breakable.stack.clear()
