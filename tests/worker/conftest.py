"""Controllers for workers: one in this process behind a gateway that a test may have misbehave, one as a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from controllers import RunningController
from gateway import Gateway
from servers import RedisServer
from stack import Stack


@pytest.fixture
def running(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[RunningController]:
    with RunningController(sqlite_url, redis_url, tmp_path) as controller:
        yield controller


@pytest.fixture
def gateway(running: RunningController) -> Iterator[Gateway]:
    with Gateway(running.url) as opened:
        yield opened


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Stack]:
    """A controller process for all tests of workers: starting one takes seconds. It looks seldom, for it goes on beside
    other tests."""
    with Stack(tmp_path_factory.mktemp("platform"), redis_server.url, PAPLOSS_TICK_SECONDS="0.3") as running:
        running.start_controller()
        yield running


@pytest.fixture
def stack(platform: Stack, tmp_path: Path) -> Iterator[Stack]:
    """The controller process without workers and open trials, and a state volume of its own for this test."""
    platform.state = tmp_path / "state"
    yield platform
    platform.clear()
