"""Whole searches with real processes, undisturbed and with kill -9 in the middle: the same trials, the same rewards."""

import signal
from collections.abc import Callable

import psutil
import pytest
from stack import Stack, wait_until

ROUNDS, TRIALS_PER_ROUND = 3, 3
CONFIRMATIONS = (2 + 1) * 2  # two candidates and the identity, two seeds each
SPEC = {
    "rounds": ROUNDS,
    "trials_per_round": TRIALS_PER_ROUND,
    "seed": 7,
    "confirm": {"candidates": 2, "seeds": 2},
    "synthetic": {"iterations": 20, "iteration_seconds": 0.05},
}


def record(stack: Stack, search_id: str) -> list[tuple[object, ...]]:
    """What a search did, without when and where."""
    fields = ("number", "kind", "label", "round", "seed", "state", "reward")
    return [tuple(trial[field] for field in fields) for trial in stack.trials(search_id)]


def check_each_trial_counted_once(stack: Stack, search_id: str) -> None:
    trials = stack.trials(search_id)
    assert len(trials) == ROUNDS * TRIALS_PER_ROUND + CONFIRMATIONS
    assert {trial["state"] for trial in trials} == {"succeeded"}
    for trial in trials:
        outcomes = [attempt["outcome"] for attempt in stack.get(f"trials/{trial['id']}")["attempt_list"]]
        assert outcomes.count("succeeded") == 1
        assert outcomes[-1] == "succeeded"
    rounds = [row for row in stack.get(f"searches/{search_id}/rounds")["items"] if row["closed_at"]]
    assert [row["rewards"] for row in rounds] == [TRIALS_PER_ROUND] * ROUNDS


def wait_for_a_training(stack: Stack, search_id: str) -> None:
    def trains() -> bool:
        return any(
            trial["iteration"] > 1 for trial in stack.get(f"searches/{search_id}/trials", state="running")["items"]
        )

    wait_until(trains, "a training to get on")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, redis_server) -> list[tuple[object, ...]]:
    """The record of a search that nobody disturbs."""
    with Stack(tmp_path_factory.mktemp("undisturbed"), redis_server.url) as stack:
        stack.start_controller()
        stack.start_worker("w0")
        stack.start_worker("w1")
        search_id = stack.submit(**SPEC)
        stack.wait_for(search_id, "succeeded")
        check_each_trial_counted_once(stack, search_id)
        return record(stack, search_id)


def kill_a_trainer(stack: Stack) -> None:
    def strike() -> bool:
        for trainer in stack.trainers("w0"):
            try:
                trainer.kill()
            except psutil.NoSuchProcess:
                continue
            return True
        return False

    wait_until(strike, "a trainer to kill")


def kill_a_worker(stack: Stack) -> None:
    wait_until(lambda: stack.trainers("w0"), "the worker to train")
    stack.kill_worker("w0", signal.SIGKILL)
    stack.start_worker("w0")


def kill_the_controller(stack: Stack) -> None:
    stack.kill_controller(signal.SIGKILL)
    stack.start_controller()


@pytest.mark.parametrize("strike", [kill_a_trainer, kill_a_worker, kill_the_controller])
def test_a_search_survives_kill_9(tmp_path, redis_url, undisturbed, strike: Callable[[Stack], None]):
    with Stack(tmp_path, redis_url) as stack:
        stack.start_controller()
        stack.start_worker("w0")
        stack.start_worker("w1")
        search_id = stack.submit(**SPEC)
        for finished in (1, ROUNDS * TRIALS_PER_ROUND - 2):  # in the first round and in the last
            wait_until(lambda least=finished: stack.get(f"searches/{search_id}")["trials_final"] >= least, "progress")
            strike(stack)
        stack.wait_for(search_id, "succeeded")
        check_each_trial_counted_once(stack, search_id)
        assert record(stack, search_id) == undisturbed
        assert stack.get("status")["trials"].get("running", 0) == 0


@pytest.mark.slow
def test_a_search_with_real_trainings_survives_kill_9_with_the_same_rewards(tmp_path, redis_url):
    spec = {
        "profile": "retinanet-tiny",
        "seed": 1,
        "overrides": {"epochs": 1, "image_size_px": 64},
        "confirm": {"candidates": 1, "seeds": 1},
    }
    records = []
    for strikes in ((), (kill_a_trainer, kill_a_worker, kill_the_controller)):
        with Stack(tmp_path / str(len(strikes)), redis_url) as stack:
            stack.start_controller()
            stack.start_worker("w0")
            stack.start_worker("w1")
            search_id = stack.submit(**spec)
            for strike in strikes:
                wait_for_a_training(stack, search_id)
                strike(stack)
            stack.wait_for(search_id, "succeeded")
            assert {trial["state"] for trial in stack.trials(search_id)} == {"succeeded"}
            records.append(record(stack, search_id))
    assert records[0] == records[1]
