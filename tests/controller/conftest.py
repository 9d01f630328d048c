"""A controller without processes: a driver that ticks by hand, and workers that are played."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from simulation import Platform

from paploss.controller.api import loading
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


@pytest.fixture(autouse=True)
def files_are_loaded_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are loaded without a process of their own, which takes seconds to start: that is `test_loading.py`'s."""

    def load_here(settings: Settings, file: IO[bytes], project: str | None, *_limits: int) -> loading.Answer:
        return loading.answer_of(settings, file, project)

    if request.module.__name__.rpartition(".")[2] != "test_loading":
        monkeypatch.setattr(loading, "ask_process", load_here)
