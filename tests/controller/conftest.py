"""A controller without processes: a driver that ticks by hand, and workers that are played."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from simulation import Platform

from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.jobs.queue import TrialQueue


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path)


@pytest.fixture
def queue(redis_url: str) -> Iterator[TrialQueue]:
    with TrialQueue(redis_url) as opened:
        yield opened


@pytest.fixture
def platform(database: Database, queue: TrialQueue, settings: Settings) -> Platform:
    return Platform(database, queue, settings)
