"""A controller without processes: a driver that ticks by hand, and workers that are played."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from simulation import Platform

from paploss.controller.api import apart, dumping, loading
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
def files_are_written_and_loaded_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a process of their own, which takes seconds to start: it has tests of its own."""

    def answer_here(module: str, settings: Settings, file: IO[bytes], *arguments: object) -> apart.Answer:
        if module == loading.__name__:
            return loading.answer_of(settings, file, str(arguments[-1]) or None)
        return dumping.answer_of(settings, file, *map(str, arguments))

    if request.module.__name__.rpartition(".")[2] not in {"test_dumping", "test_loading"}:
        monkeypatch.setattr(apart, "ask_process", answer_here)
