"""Pause, resume and cancel at any moment."""

import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from breakable import Breakable
from disturbances import ITERATIONS, SEARCH, TRIALS, await_iterations, expect_same, family, read_trials
from scenarios import check_ended
from stack import Stack, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]  # patience with busy machines

Outcome = Mapping[str, Any]


@pytest.fixture
def moments() -> random.Random:
    """Random numbers that are the same in every run."""
    return random.Random(4)


def test_pausing_and_resuming_at_any_moment(platform: Breakable, undisturbed: Outcome, moments: random.Random) -> None:
    stack = platform.stack
    for name in ("w0", "w1"):
        platform.start_worker(name)
    search_id = stack.submit(**SEARCH)
    for moment in sorted(moments.sample(range(1, TRIALS * ITERATIONS - ITERATIONS), 4)):
        await_iterations(stack, search_id, moment)
        stack.post(f"searches/{search_id}/pause")
        wait_until(
            lambda: "running" not in {trial.state for trial in read_trials(stack, search_id)},
            "every training to be handed back",
        )
        assert not stack.trainers("w0") + stack.trainers("w1")
        stack.post(f"searches/{search_id}/resume")
    expect_same(stack, search_id, undisturbed)
    assert {trial.failed_attempts for trial in read_trials(stack, search_id)} == {0}


def test_cancelling_at_any_moment(platform: Breakable, undisturbed: Outcome, moments: random.Random) -> None:
    stack = platform.stack
    for name in ("w0", "w1"):
        platform.start_worker(name)
    for moment in moments.sample(range(TRIALS * ITERATIONS - ITERATIONS), 3):
        search_id = stack.submit(**SEARCH)
        await_iterations(stack, search_id, moment)
        stack.post(f"searches/{search_id}/cancel")
        check_ended(stack.database, search_id)
        rows = {(row["number"], row["reward"]) for row in undisturbed["trials"]}
        ended = [trial for trial in read_trials(stack, search_id) if trial.state != "cancelled"]
        assert {(trial.number, trial.reward) for trial in ended} <= rows
        wait_until(lambda: not stack.trainers("w0") + stack.trainers("w1"), "the trainers to be killed")


DEFAULTS = {"PAPLOSS_LEASE_SECONDS": "60", "PAPLOSS_RENEW_SECONDS": "5"}
DEAF = {"fault": "hang", "fault_iteration": 2, "iterations": 5}
"""A trainer that hears no SIGTERM, as one in a stuck device driver."""


@pytest.mark.slow
@pytest.mark.parametrize(("order", "limit_seconds"), [("cancel", 10), ("SIGTERM", 30)])
def test_with_the_default_settings_a_deaf_training_is_ended_in_time(
    tmp_path: Path, redis_url: str, order: str, limit_seconds: float
) -> None:
    with Stack(tmp_path, redis_url, **DEFAULTS) as stack:
        stack.start_controller()
        worker = stack.start_worker()
        training = stack.submit_training(synthetic=DEAF)
        wait_until(lambda: stack.trial(training)["iteration"] == 2, "the trainer to hang")
        members = family(worker.pid)[1:]
        ordered_at = time.monotonic()
        if order == "cancel":
            stack.post(f"searches/{training}/cancel")
            wait_until(lambda: not any(map(lives, members)), "the end of the process group")
        else:
            assert stack.kill_worker(number=signal.SIGTERM) == 0
            assert not any(map(lives, members))
            assert stack.trial(training)["state"] == "queued"
        assert time.monotonic() - ordered_at < limit_seconds


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
