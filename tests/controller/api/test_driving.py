"""The leader's loop as a process of its own: it drives, is woken, and ends with its server."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from scenarios import add_search
from stack import Stack, wait_until

from paploss.controller.api.driving import DriverProcess
from paploss.controller.loop.driver import connect
from paploss.controller.settings import Settings
from paploss.controller.store import schema
from paploss.controller.store.database import Database
from paploss.controller.store.leadership import find_leader
from paploss.controller.store.reading import lists


@pytest.fixture
def settings(postgres_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=postgres_url,
        redis_url=redis_url,
        state_dir=tmp_path,
        data_roots=(tmp_path,),
        admin_key="an-administrators-key",
        leader_lease_seconds=30,
        tick_seconds=60,
    )


@contextmanager
def running(settings: Settings) -> Iterator[tuple[DriverProcess, Database]]:
    database, queue = connect(settings)
    schema.upgrade(database)
    driver = DriverProcess(database, settings)
    thread = threading.Thread(target=driver.run)
    thread.start()
    try:
        wait_until(lambda: driver.leads, "the process to lead")
        yield driver, database
    finally:
        driver.stop()
        thread.join()
        queue.close()
        with database.read() as session:
            leader = find_leader(session)
        database.close()
    assert leader is None


def loops_of(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if "paploss.controller.api.driving" in child.cmdline()]


def test_it_looks_when_it_is_woken_and_hands_its_term_over_when_it_is_stopped(settings: Settings) -> None:
    with running(settings) as (driver, database):
        search = add_search(database)

        def has_trials() -> bool:
            with database.read() as session:
                return bool(lists.list_trials(session, search.id).items)

        driver.wake()
        wait_until(has_trials, "trials, long before the next look by the clock")
        (process,) = loops_of(psutil.Process())
    assert not process.is_running()


@pytest.mark.slow
def test_one_that_is_killed_is_started_again(settings: Settings) -> None:
    hasty = settings.model_copy(update={"leader_lease_seconds": 1, "tick_seconds": 0.1})
    with running(hasty) as (driver, _):
        (process,) = loops_of(psutil.Process())
        process.kill()
        wait_until(lambda: not driver.leads, "the end of its term")
        driver.wake()  # of what is not there: nothing happens
        wait_until(lambda: driver.leads, "another one to lead")
        assert loops_of(psutil.Process()) != [process]


@pytest.mark.slow
def test_one_that_does_not_start_is_tried_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    start, failures = subprocess.Popen, iter([BlockingIOError("no more processes"), "ends at once"])

    def start_late(command: list[str], **options: Any) -> Any:
        match next(failures, None):
            case OSError() as error:
                raise error
            case None:
                return start(command, **options)
        return start([sys.executable, "-c", "import os; os.close(0)"], **options)

    monkeypatch.setattr(subprocess, "Popen", start_late)
    with running(settings):
        assert next(failures, None) is None


def test_settings_of_every_kind_reach_it(settings: Settings) -> None:
    chosen = settings.model_copy(update={"keep_details_days": float("inf"), "tick_seconds": 0.1})
    with running(chosen):
        pass


@pytest.mark.faults
def test_it_ends_with_its_server_however_that_ends(postgres_url: str, redis_url: str, tmp_path: Path) -> None:
    with Stack(tmp_path, redis_url, postgres_url) as stack:
        for number in (signal.SIGKILL, signal.SIGTERM):
            stack.start_controller()
            assert stack.controller is not None
            (process,) = loops_of(psutil.Process(stack.controller.pid))
            stack.kill_controller(number)
            wait_until(lambda gone=process: not gone.is_running(), "the end of the leader's loop")
