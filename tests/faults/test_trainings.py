"""Faults while real detectors train: the rewards are those of an undisturbed search, to the last bit."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from disturbances import HASTY, await_trials, expect_same, family, resume, suspend
from scenarios import attempts, outcome
from servers import RedisServer
from stack import Stack

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]

SEARCH: dict[str, Any] = {
    "profile": "retinanet-tiny",
    "rounds": 1,
    "trials_per_round": 2,
    "seed": 1,
    "overrides": {"epochs": 1, "image_size_px": 64},
    "confirm": {"candidates": 1, "seeds": 1},
}
RELEASE_SECONDS = 30

Strike = Callable[[Stack, str, str], None]


@contextmanager
def searching(folder: Path, redis_url: str) -> Iterator[tuple[Stack, str]]:
    """The search, on a platform of its own with two workers."""
    with Stack(folder, redis_url, **HASTY) as stack:
        stack.start_controller()
        for name in ("w0", "w1"):
            stack.start_worker(name)
        yield stack, stack.submit(**SEARCH)


@pytest.fixture(scope="module")
def undisturbed_trainings(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Mapping[str, Any]:
    """The outcome of the search when nobody disturbs it."""
    with searching(tmp_path_factory.mktemp("undisturbed"), redis_server.url) as (stack, experiment_id):
        stack.wait_for(experiment_id, "succeeded")
        return outcome(stack.database, experiment_id)


def await_training(stack: Stack, experiment_id: str, worker: str) -> str:
    """The id of the trial that a worker trains, as soon as it has made some steps."""
    found: str = await_trials(
        stack,
        experiment_id,
        lambda trials: next(
            (t.id for t in trials if t.worker == worker and t.state == "running" and t.iteration > 1), 0
        ),
        f"{worker} to get on",
    )
    return found


def kill_trainer(stack: Stack, experiment_id: str, trial_id: str) -> None:
    for trainer in stack.trainers("w0"):
        trainer.kill()


def kill_worker(stack: Stack, experiment_id: str, trial_id: str) -> None:
    stack.kill_worker("w0")
    stack.start_worker("w0")


def kill_controller(stack: Stack, experiment_id: str, trial_id: str) -> None:
    stack.kill_controller()
    stack.start_controller()


def stop_worker(stack: Stack, experiment_id: str, trial_id: str) -> None:
    began_at = time.monotonic()
    assert stack.kill_worker("w0", signal.SIGTERM) == 0
    assert time.monotonic() - began_at < RELEASE_SECONDS
    assert attempts(stack.database, trial_id)[-1].outcome == "preempted"
    assert list((stack.state / "trials" / trial_id).glob("*/training/checkpoint.pt"))
    stack.start_worker("w0")
    await_trials(
        stack,
        experiment_id,
        lambda _: [one for one in attempts(stack.database, trial_id)[1:] if one.resumed_iteration > 1],
        "the next attempt to go on from the checkpoint",
    )


def freeze_machine(stack: Stack, experiment_id: str, trial_id: str) -> None:
    members = family(stack.workers["w0"].pid)
    suspend(members)
    await_trials(
        stack,
        experiment_id,
        lambda trials: next(t.worker == "w1" or t.reward is not None for t in trials if t.id == trial_id),
        "a successor",
    )
    resume(members)


@pytest.mark.parametrize(
    "strikes",
    [(kill_trainer, kill_worker, kill_controller), (stop_worker, freeze_machine)],
    ids=["kill -9 of each", "preempted, frozen"],
)
def test_real_trainings_end_with_the_ap_of_an_undisturbed_search(
    tmp_path: Path, redis_url: str, undisturbed_trainings: Mapping[str, Any], strikes: Sequence[Strike]
) -> None:
    with searching(tmp_path, redis_url) as (stack, experiment_id):
        for strike in strikes:
            strike(stack, experiment_id, await_training(stack, experiment_id, "w0"))
        expect_same(stack, experiment_id, undisturbed_trainings)
