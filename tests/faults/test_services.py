"""Whatever befalls Redis, PostgreSQL or a controller, the search ends as if nothing had."""

import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from breakable import Breakable
from disks import CannotMountError, FailingDisk, SmallDisk
from disturbances import (
    HASTY,
    SEARCH,
    await_ended,
    await_trainer,
    expect_same,
    family,
    resume,
    suspend,
)
from servers import PostgresServer
from stack import Stack, wait_until

from paploss.controller.store.leadership import find_leader

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]  # patience with busy machines

Outcome = Mapping[str, Any]


def start_search(platform: Breakable) -> str:
    """The search, with two workers and a first trial that has ended."""
    for name in ("w0", "w1"):
        platform.start_worker(name)
    experiment_id = platform.stack.submit(**SEARCH)
    await_ended(platform.stack, experiment_id, 1)
    return experiment_id


def test_redis_killed_and_started_again_empty(platform: Breakable, undisturbed: Outcome) -> None:
    experiment_id = start_search(platform)
    platform.redis.stop(signal.SIGKILL)
    await_ended(platform.stack, experiment_id, 2)  # what runs ends without it
    platform.redis.start()
    expect_same(platform.stack, experiment_id, undisturbed)


@pytest.mark.slow
def test_redis_that_answers_slowly(platform: Breakable, undisturbed: Outcome) -> None:
    platform.to_redis.delay_seconds = 0.1
    experiment_id = start_search(platform)
    expect_same(platform.stack, experiment_id, undisturbed)


def test_while_redis_is_silent_the_leader_goes_on(platform: Breakable, undisturbed: Outcome) -> None:
    experiment_id = start_search(platform)
    epoch = read_leader(platform.stack)[1]
    trainer, _ = await_trainer(platform.stack, "w0")  # first: once Redis is silent, nobody gets a trial any more
    platform.to_redis.hold()
    wait_until(lambda: not trainer.is_running(), "a training to end")
    platform.to_redis.repair()
    expect_same(platform.stack, experiment_id, undisturbed)
    assert read_leader(platform.stack)[1] == epoch


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGQUIT, marks=pytest.mark.slow)], ids=["restart", "crash"]
)
def test_postgresql_restarted(platform: Breakable, undisturbed: Outcome, number: signal.Signals) -> None:
    experiment_id = start_search(platform)
    platform.postgres.stop(number)
    platform.stack.database.close()  # the test's own connections are gone as well
    platform.postgres.start()
    expect_same(platform.stack, experiment_id, undisturbed)
    assert "met a defect" not in platform.stack.log("controller")


def read_leader(stack: Stack) -> tuple[str, int] | None:
    with stack.database.read() as session:
        leader = find_leader(session)
        return None if leader is None else (leader.holder, leader.epoch)


@pytest.mark.parametrize("fault", ["cut off from its database", pytest.param("frozen", marks=pytest.mark.slow)])
def test_a_leader_that_falls_silent_is_followed_and_comes_back(
    platform: Breakable, undisturbed: Outcome, fault: str
) -> None:
    stack = platform.stack
    assert stack.controller is not None
    experiment_id = start_search(platform)
    first = read_leader(stack)
    members = family(stack.controller.pid)
    port = platform.start_replica()
    try:
        if fault == "frozen":
            suspend(members)
        else:
            platform.to_postgres.hold()
        successor = wait_until(
            lambda: (found := read_leader(stack)) and found[0] != (first or found)[0] and found, "a new leader"
        )
        platform.send_workers_to(port)
        await_ended(stack, experiment_id, 3)
        resume(members)
        platform.to_postgres.repair()
        wait_until(stack.is_ready, "the first controller to serve again")
        assert read_leader(stack) == successor  # it does not drive, though it once led
    finally:
        platform.kill_replica()
        platform.send_workers_to(stack.port)
    expect_same(stack, experiment_id, undisturbed)


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[SmallDisk]:
    try:
        disk = SmallDisk(folder, size_mb)
    except CannotMountError as error:
        pytest.skip(str(error))
    with disk:
        yield disk


def survive_a_full_disk(stack: Stack, disk: SmallDisk, undisturbed: Outcome) -> None:
    stack.start_controller()
    for name in ("w0", "w1"):
        stack.start_worker(name)
    experiment_id = stack.submit(**SEARCH)
    await_ended(stack, experiment_id, 1)
    disk.fill()
    wait_until(lambda: "disk is full" in stack.log("controller") or "No space left" in stack.log("controller"), "harm")
    disk.free()
    expect_same(stack, experiment_id, undisturbed)


def test_a_full_disk_at_sqlite(tmp_path: Path, redis_url: str, undisturbed: Outcome) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        url = f"sqlite:///{disk.folder / 'paploss.db'}"
        with Stack(tmp_path / "stack", redis_url, url, **HASTY) as stack:
            survive_a_full_disk(stack, disk, undisturbed)


def test_a_disk_that_becomes_read_only_under_sqlite(tmp_path: Path, redis_url: str, undisturbed: Outcome) -> None:
    try:
        disk = FailingDisk(tmp_path / "disk", 32)
    except CannotMountError as error:
        pytest.skip(str(error))
    url = f"sqlite:///{disk.folder / 'paploss.db'}"
    with disk, Stack(tmp_path / "stack", redis_url, url, **HASTY) as stack:
        stack.start_controller()
        for name in ("w0", "w1"):
            stack.start_worker(name)
        experiment_id = stack.submit(**SEARCH)
        await_ended(stack, experiment_id, 1)
        disk.fail()
        wait_until(lambda: "the leader's loop will try again" in stack.log("controller"), "harm")
        assert stack.get(f"experiments/{experiment_id}")["state"] == "running"  # what is there can be read
        assert stack.http.post(f"experiments/{experiment_id}/pause").status_code == 503
        stack.kill_controller(signal.SIGTERM)
        stack.database.close()  # this process's own
        disk.repair()
        stack.start_controller()
        expect_same(stack, experiment_id, undisturbed)


@pytest.mark.slow
def test_a_full_disk_at_postgresql(
    tmp_path: Path, redis_url: str, undisturbed: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "disk", 120) as disk:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        monkeypatch.setattr("tempfile.tempdir", str(disk.folder))
        server = PostgresServer()
        monkeypatch.undo()
        server.start()
        with Stack(tmp_path / "stack", redis_url, server.create_database(), **HASTY) as stack:
            survive_a_full_disk(stack, disk, undisturbed)
        server.close()
