"""A controller that runs, for the tests of its interfaces."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from controllers import PlayedWorker, RunningController

from controller.client import Client


@pytest.fixture
def controller(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[RunningController]:
    """A controller on SQLite."""
    with RunningController(sqlite_url, redis_url, tmp_path) as running:
        yield running


@pytest.fixture
def http(controller: RunningController) -> Iterator[httpx.Client]:
    """Plain HTTP with the key of a user."""
    with controller.http("user") as client:
        yield client


@pytest.fixture
def client(controller: RunningController) -> Iterator[Client]:
    """The project's own client with the key of a user."""
    with controller.client() as opened:
        yield opened


@pytest.fixture
def worker(controller: RunningController) -> Iterator[PlayedWorker]:
    """A worker that is played over HTTP."""
    with controller.http("worker") as client:
        yield PlayedWorker(client)
