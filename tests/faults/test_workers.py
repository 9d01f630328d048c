"""Whatever befalls a worker, or its connection to the controller, the search ends as if nothing had."""

import importlib.util
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from breakable import Breakable
from disturbances import (
    SEARCH,
    TRIALS,
    await_ended,
    await_trainer,
    await_trials,
    expect_same,
    family,
    limit_files,
    read_trials,
    resume,
    suspend,
)
from scenarios import attempts, outcome
from sqlalchemy import func, select
from stack import Stack, wait_until

from paploss.controller.store.tables import LateResult
from paploss.jobs.queue import TrialQueue

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]  # patience with busy machines

Outcome = Mapping[str, Any]


def late_results(stack: Stack, trial_id: str) -> int:
    with stack.database.read() as session:
        query = select(func.count()).select_from(LateResult).where(LateResult.trial_id == trial_id)
        return session.execute(query).scalar_one()


@pytest.mark.parametrize(
    "whole_machine", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["the worker", "with its trainer"]
)
def test_a_worker_frozen_for_longer_than_a_lease_and_then_woken(
    platform: Breakable, undisturbed: Outcome, whole_machine: bool
) -> None:
    stack = platform.stack
    for name in ("w0", "w1"):
        platform.start_worker(name)
    experiment_id = stack.submit(**SEARCH)
    _, trial_id = await_trainer(stack, "w0")
    members = family(stack.workers["w0"].pid)
    frozen = members if whole_machine else members[:1]
    suspend(frozen)
    await_trials(
        stack, experiment_id, lambda trials: "w1" in {t.worker for t in trials if t.id == trial_id}, "a successor"
    )
    resume(frozen)
    expect_same(stack, experiment_id, undisturbed)
    assert attempts(stack.database, trial_id)[0].outcome == "expired"


@pytest.mark.parametrize("fault", ["cut", pytest.param("hold", marks=pytest.mark.slow)])
def test_a_network_cut_for_longer_than_a_lease_while_two_workers_train_one_trial(
    platform: Breakable, undisturbed: Outcome, fault: str
) -> None:
    stack = platform.stack
    platform.start_worker("w0")
    stack.start_worker("w1")
    experiment_id = stack.submit(**SEARCH)
    trainer, trial_id = await_trainer(stack, "w0")
    suspend([trainer])  # so that both train at the same time, however slow this machine is
    getattr(platform.to_controller, fault)()
    await_trainer(stack, "w1", trial_id)
    assert trainer.is_running()  # the first worker has heard nothing and holds on
    resume([trainer])
    platform.to_controller.repair()
    expect_same(stack, experiment_id, undisturbed)
    assert attempts(stack.database, trial_id)[0].outcome == "expired"


def test_of_two_workers_that_finish_the_same_trial_the_one_that_claimed_last_counts(
    platform: Breakable, undisturbed: Outcome
) -> None:
    stack = platform.stack
    platform.start_worker("w0")
    stack.start_worker("w1")
    experiment_id = stack.submit(**SEARCH)
    first, trial_id = await_trainer(stack, "w0")
    suspend([first])
    platform.to_controller.cut()
    second, _ = await_trainer(stack, "w1", trial_id)
    suspend([second])
    resume([first])
    wait_until(lambda: list((stack.state / "trials" / trial_id).glob("*/result.json")), "the first to finish")
    platform.to_controller.repair()
    wait_until(lambda: late_results(stack, trial_id), "its result to arrive")
    resume([second])
    expect_same(stack, experiment_id, undisturbed)
    assert attempts(stack.database, trial_id)[0].outcome == "expired"


def test_replies_to_claims_renewals_and_results_that_are_lost(platform: Breakable, undisturbed: Outcome) -> None:
    stack = platform.stack
    for request in ("claim", "renew", "result"):
        platform.to_controller.rob(f"POST /api/v1/leases/{request}".encode(), times=3)
    for name in ("w0", "w1"):
        platform.start_worker(name)
    experiment_id = stack.submit(**SEARCH)
    expect_same(stack, experiment_id, undisturbed)
    assert list(platform.to_controller.robbed.values()) == [3, 3, 3]


def test_requests_that_are_delivered_twice(platform: Breakable, undisturbed: Outcome) -> None:
    stack = platform.stack
    platform.start_worker("w0")
    experiment_id = stack.submit(**SEARCH)
    answers = {b"claim": set(), b"renew": set(), b"result": set()}
    for ended in range(1, TRIALS):
        await_ended(stack, experiment_id, ended)
        for request, statuses in answers.items():
            statuses.add(platform.to_controller.replay(b"POST /api/v1/leases/" + request)[9:12])
    expect_same(stack, experiment_id, undisturbed)
    # A result is answered as the first time; a claim or a renewal too while its lease lasts, and refused after that.
    assert answers[b"result"] == {b"200"}
    assert answers[b"claim"] | answers[b"renew"] <= {b"200", b"409", b"410"}


def test_a_full_disk_at_the_worker(platform: Breakable, undisturbed: Outcome) -> None:
    stack = platform.stack
    platform.start_worker("w0")
    experiment_id = stack.submit(**SEARCH)
    await_trainer(stack, "w0")
    limit_files(stack, "w0", 0)
    # The training that runs needs no disk to end. The next one cannot start and is released; then the worker waits.
    await_trials(
        stack,
        experiment_id,
        lambda trials: any(one.outcome == "preempted" for t in trials for one in attempts(stack.database, t.id)),
        "a trial to be released",
    )
    limit_files(stack, "w0", resource.RLIM_INFINITY)
    expect_same(stack, experiment_id, undisturbed)
    assert {trial.failed_attempts for trial in read_trials(stack, experiment_id)} == {0}


@pytest.fixture
def fake_clock() -> Path:
    """The library that gives a process another time than its machine's."""
    spec = importlib.util.find_spec("libfaketime")  # of which only the library is wanted
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package libfaketime is not installed")
    (found,) = Path(spec.submodule_search_locations[0]).rglob("libfaketime.so*")
    return found


@pytest.mark.slow
def test_clocks_an_hour_apart(
    tmp_path: Path, redis_url: str, postgres_url: str, undisturbed: Outcome, fake_clock: Path
) -> None:
    def off(hours: int) -> dict[str, str]:
        return {"LD_PRELOAD": str(fake_clock), "FAKETIME": f"{hours:+d}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    with Stack(tmp_path, redis_url, postgres_url) as stack:
        stack.start_controller(**off(1))
        stack.start_worker("w0", **off(-1))
        stack.start_worker("w1", **off(1))
        experiment_id = stack.submit(**SEARCH)
        _, trial_id = await_trainer(stack, "w0")
        stack.kill_worker("w0")  # only a clock tells that it is gone
        expect_same(stack, experiment_id, undisturbed)
        assert attempts(stack.database, trial_id)[0].outcome == "expired"


def test_a_poison_trial_spends_its_budget_and_the_search_goes_on(platform: Breakable, undisturbed: Outcome) -> None:
    stack = platform.stack
    for name in ("w0", "w1"):
        platform.start_worker(name)
    first_round = [row for row in undisturbed["trials"] if row["round"] == 0]
    rewards = sorted(row["reward"] for row in first_round)
    threshold = (rewards[0] + rewards[1]) / 2
    poison = SEARCH["synthetic"] | {"fault": "crash", "fault_iteration": 1, "fault_below": threshold}
    experiment_id = stack.submit(**SEARCH | {"synthetic": poison})
    stack.wait_for(experiment_id, "succeeded")
    failed = [trial for trial in read_trials(stack, experiment_id) if trial.state == "failed"]
    assert failed
    for trial in failed:
        assert (trial.error_kind, trial.failed_attempts, trial.attempt) == ("crash", 3, 3)
        assert trial.reward is None
    spared = [row for row in outcome(stack.database, experiment_id)["trials"] if row["round"] == 0 and row["reward"]]
    assert spared == [row for row in first_round if row["reward"] > rewards[0]]


def test_a_machine_on_which_every_training_crashes_leaves_the_trials_to_others(
    platform: Breakable, undisturbed: Outcome, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN_GPU)
    stack = platform.stack
    platform.start_worker("broken", PYTHONPATH=str(tmp_path))
    experiment_id = stack.submit(**SEARCH | {"synthetic": SEARCH["synthetic"] | {"iteration_seconds": 0.3}})
    await_trials(
        stack, experiment_id, lambda trials: any(trial.failed_attempts for trial in trials), "a training to crash there"
    )
    for name in ("w0", "w1"):
        platform.start_worker(name)
    expect_same(stack, experiment_id, undisturbed)
    tries = [one for trial in read_trials(stack, experiment_id) for one in attempts(stack.database, trial.id)]
    assert {one.worker for one in tries if one.outcome == "failed"} == {"broken"}
    assert "no CUDA device" in str(next(one.error for one in tries if one.outcome == "failed"))
    assert "circuit breaker open" in stack.log("broken")


BROKEN_GPU = """
import os, sys
if "paploss.trainer" in sys.orig_argv:
    print("RuntimeError: no CUDA device is available", file=sys.stderr, flush=True)
    os._exit(1)
"""
"""What Python runs at every start: a trainer does not come far."""


def test_trials_that_all_crash_stop_the_search_with_advice(platform: Breakable) -> None:
    stack = platform.stack
    for name in ("w0", "w1"):
        platform.start_worker(name)
    crash = {"fault": "crash", "iterations": 2}
    budgets = {"max_failed_attempts": 1, "max_failed_trials": 3}
    experiment_id = stack.submit(**SEARCH | {"synthetic": crash, "budgets": budgets})
    found = stack.wait_for(experiment_id, "failed")
    assert "4 trials failed, more than max_failed_trials allows" in found["reason"]
    assert "exit status 70" in found["reason"]
    assert "Fix the cause and start again, or allow more failures" in found["reason"]


def test_an_entry_that_was_delivered_and_never_claimed(platform: Breakable, undisturbed: Outcome) -> None:
    stack = platform.stack
    with redis.Redis.from_url(platform.redis.url) as raw:
        raw.flushall()  # what earlier tests left
    with TrialQueue(platform.redis.url) as queue:
        experiment_id = stack.submit(**SEARCH)
        entry = wait_until(lambda: queue.take([0], "ghost", block_seconds=1, takeover_seconds=60), "an entry")
    for name in ("w0", "w1"):
        platform.start_worker(name)
    expect_same(stack, experiment_id, undisturbed)
    assert entry.trial_id in {trial.id for trial in read_trials(stack, experiment_id)}
