"""Trials that are promoted, with real processes: what breaks costs time, and changes no reward."""

import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from disturbances import HASTY, await_trainer, await_trials, read_trials
from scenarios import attempts, check_ended
from stack import Stack

from paploss.controller.store.tables import Trial
from paploss.jobs.spec import JobSpec, SyntheticOptions
from paploss.trainer.synthetic import noisy_ap

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SEARCH: dict[str, Any] = {
    "algorithm": "random",
    "mode": "stream",
    "rounds": 2,
    "trials_per_round": 2,
    "seed": 7,
    "lengths": {"fractions": [0.5, 1.0], "keep": 2},
    "confirm": {"candidates": 1, "seeds": 1},
    "synthetic": {"iterations": 10, "iteration_seconds": 0.2},
}


def await_longer(stack: Stack, experiment_id: str) -> str:
    """The id of the first trial that carries another on."""
    found: str = await_trials(
        stack, experiment_id, lambda trials: next((t.id for t in trials if t.derived_from), 0), "a trial promoted"
    )
    return found


def check_whole(stack: Stack, experiment_id: str) -> list[Trial]:
    """Every trial counts once, and whole ones have the rewards of trainings that were never stopped."""
    stack.wait_for(experiment_id, "succeeded")
    check_ended(stack.database, experiment_id)
    proxies = [trial for trial in read_trials(stack, experiment_id) if trial.kind == "proxy"]
    assert Counter(trial.length for trial in proxies) == {0.5: 4, 1.0: 2}
    whole = [trial for trial in proxies if trial.length == 1]
    options = SyntheticOptions.model_validate(SEARCH["synthetic"])
    for trial in whole:
        job = JobSpec.model_validate(
            {"trial_id": "t", "profile": "synthetic", "loss": trial.loss, "seed": trial.seed}, extra="ignore"
        )
        assert trial.reward == noisy_ap(job, options)
        assert trial.iteration == 10
    return whole


def test_a_worker_that_is_killed_while_it_carries_a_trial_on_loses_no_more_than_any(
    tmp_path: Path, redis_url: str
) -> None:
    with Stack(tmp_path, redis_url, **HASTY) as stack:
        stack.start_controller()
        stack.start_worker("w0")
        experiment_id = stack.submit(**SEARCH)
        longer = await_longer(stack, experiment_id)
        await_trainer(stack, "w0", longer)
        stack.kill_worker("w0", signal.SIGKILL)
        stack.start_worker("w1")
        check_whole(stack, experiment_id)
        assert attempts(stack.database, longer)[-1].resumed_iteration >= 5
        left = {path.name for path in (stack.state / "trials").iterdir()}
        assert left == {trial.id for trial in read_trials(stack, experiment_id) if trial.length < 1} - {
            trial.derived_from for trial in read_trials(stack, experiment_id)
        }


def test_a_trial_whose_checkpoint_was_deleted_trains_from_the_start_and_says_so(tmp_path: Path, redis_url: str) -> None:
    with Stack(tmp_path, redis_url, **HASTY) as stack:
        stack.start_controller()
        stack.start_worker("w0")
        experiment_id = stack.submit(**SEARCH)
        longer = await_longer(stack, experiment_id)
        stack.kill_worker("w0", signal.SIGKILL)
        shutil.rmtree(stack.state / "trials")
        stack.start_worker("w1")
        check_whole(stack, experiment_id)
        last = attempts(stack.database, longer)[-1]
        (shorter,) = [trial.derived_from for trial in read_trials(stack, experiment_id) if trial.id == longer]
        assert last.resumed_iteration == 0
        assert f"no checkpoint of trial {shorter}" in (last.warnings or [""])[0]
