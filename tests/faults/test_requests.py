"""Pause, resume and cancel at any moment."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from breakable import Breakable
from disturbances import ITERATIONS, SEARCH, TRIALS, await_iterations, expect_same, read_trials
from scenarios import check_ended
from stack import wait_until

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
