"""A controller that answers, behind a gateway that a test may have misbehave."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from controllers import RunningController
from gateway import Gateway


@pytest.fixture
def running(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[RunningController]:
    with RunningController(sqlite_url, redis_url, tmp_path) as controller:
        yield controller


@pytest.fixture
def gateway(running: RunningController) -> Iterator[Gateway]:
    with Gateway(running.url) as opened:
        yield opened
