"""Pause, resume and cancel at any moment."""

import random
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from breakable import Breakable
from disturbances import ITERATIONS, SEARCH, TRIALS, await_iterations, expect_same, family, read_trials
from scenarios import check_ended
from stack import Stack, lives, wait_until
from wire import Wire

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
    experiment_id = stack.submit(**SEARCH)
    for moment in sorted(moments.sample(range(1, TRIALS * ITERATIONS - ITERATIONS), 4)):
        await_iterations(stack, experiment_id, moment)
        stack.post(f"experiments/{experiment_id}/pause")
        wait_until(
            lambda: "running" not in {trial.state for trial in read_trials(stack, experiment_id)},
            "every training to be released",
        )
        assert not stack.trainers("w0") + stack.trainers("w1")
        stack.post(f"experiments/{experiment_id}/resume")
    expect_same(stack, experiment_id, undisturbed)
    assert {trial.failed_attempts for trial in read_trials(stack, experiment_id)} == {0}


def test_cancelling_at_any_moment(platform: Breakable, undisturbed: Outcome, moments: random.Random) -> None:
    stack = platform.stack
    for name in ("w0", "w1"):
        platform.start_worker(name)
    for moment in moments.sample(range(TRIALS * ITERATIONS - ITERATIONS), 3):
        experiment_id = stack.submit(**SEARCH)
        await_iterations(stack, experiment_id, moment)
        stack.post(f"experiments/{experiment_id}/cancel")
        check_ended(stack.database, experiment_id)
        rows = {(row["number"], row["reward"]) for row in undisturbed["trials"]}
        ended = [trial for trial in read_trials(stack, experiment_id) if trial.state != "cancelled"]
        assert {(trial.number, trial.reward) for trial in ended} <= rows
        wait_until(lambda: not stack.trainers("w0") + stack.trainers("w1"), "the trainers to be killed")


DEFAULTS = {"PAPLOSS_LEASE_SECONDS": "60", "PAPLOSS_RENEW_SECONDS": "5"}
DEAF = {"fault": "hang", "fault_iteration": 2, "iterations": 5}
"""A trainer that hears no SIGTERM, as one in a stuck device driver."""


@pytest.fixture
def deaf(tmp_path: Path, redis_url: str) -> Iterator[tuple[Stack, Wire, str]]:
    """A worker with the default settings, whose one trainer hangs; the wire to its controller; the training's id."""
    with Stack(tmp_path, redis_url, **DEFAULTS) as stack, Wire(("127.0.0.1", stack.port)) as wire:
        stack.start_controller()
        stack.start_worker(PAPLOSS_CONTROLLER_URL=wire.http_url)
        training = stack.submit_training(synthetic=DEAF)
        wait_until(lambda: stack.trial(training)["iteration"] == 2, "the trainer to hang")
        yield stack, wire, training


@pytest.mark.slow
def test_with_the_default_settings_a_cancelled_training_is_ended_within_10_seconds(
    deaf: tuple[Stack, Wire, str],
) -> None:
    stack, _, training = deaf
    members = family(stack.workers["w0"].pid)[1:]
    ordered_at = time.monotonic()
    stack.post(f"experiments/{training}/cancel")
    wait_until(lambda: not any(map(lives, members)), "the end of its processes")
    assert time.monotonic() - ordered_at < 10


@pytest.mark.slow
@pytest.mark.parametrize("controller", ["answers", "is silent"])
def test_with_the_default_settings_a_worker_told_to_stop_is_gone_within_30_seconds(
    deaf: tuple[Stack, Wire, str], controller: str
) -> None:
    stack, wire, training = deaf
    members = family(stack.workers["w0"].pid)[1:]
    if controller == "is silent":
        wire.hold()
        time.sleep(6)  # longer than between two renewals: one is under way
    ordered_at = time.monotonic()
    assert stack.kill_worker(number=signal.SIGTERM) == 0
    wait_until(lambda: not any(map(lives, members)), "the end of its processes")
    assert time.monotonic() - ordered_at < 30
    assert stack.trial(training)["state"] == ("queued" if controller == "answers" else "running")
