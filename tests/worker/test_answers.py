"""A worker process whose controller gives answers that no sound one gives, or none: a gateway stands between them."""

import signal
import time
from collections.abc import Iterator

import pytest
from gateway import Gateway
from stack import Stack, wait_until
from wire import Wire

LONG = {"iterations": 4000, "iteration_seconds": 0.05}
SHORT = {"iterations": 5}
DEAF = {"fault": "hang", "fault_iteration": 2, "iterations": 5}


@pytest.fixture
def gateway(stack: Stack) -> Iterator[Gateway]:
    with Gateway(stack.url) as opened:
        yield opened


def start_worker(stack: Stack, gateway: Gateway, **settings: str) -> None:
    stack.start_worker(**{"PAPLOSS_CONTROLLER_URL": gateway.url} | settings)


def outcomes(stack: Stack, training: str) -> list[str | None]:
    return [attempt["outcome"] for attempt in stack.trial(training)["attempt_list"]]


@pytest.mark.slow
def test_a_renewal_refused_by_the_controller_itself_ends_the_training(stack: Stack, gateway: Gateway) -> None:
    start_worker(stack, gateway)
    training = stack.submit_training(synthetic=LONG)
    wait_until(lambda: stack.trial(training)["iteration"] >= 1, "the trial to get on")
    trainers = stack.trainers()
    assert trainers
    gateway.answer("renew", 410)  # which other statuses say so: test_controller.py
    wait_until(lambda: not any(trainer.is_running() for trainer in trainers), "the training to be killed")


def test_a_renewal_refused_otherwise_ends_nothing(stack: Stack, gateway: Gateway) -> None:
    start_worker(stack, gateway)
    training = stack.submit_training(synthetic=LONG)
    wait_until(lambda: stack.trial(training)["iteration"] >= 1, "the trial to get on")
    rule = gateway.answer("renew", 404, kind="text/html", times=3)  # a proxy's page
    wait_until(lambda: rule.used == 3, "three refusals")
    reached = stack.trial(training)["iteration"]
    wait_until(lambda: stack.trial(training)["iteration"] > reached, "the trial to get on again")
    assert outcomes(stack, training) == [None]


def test_a_result_that_is_not_understood_fails_the_attempt_and_is_delivered_by_the_next(
    stack: Stack, gateway: Gateway
) -> None:
    gateway.answer("result", 422, holding='"outcome":"succeeded"', times=2)  # with its evaluations, and without
    start_worker(stack, gateway)
    training = stack.submit_training(synthetic=SHORT)
    stack.wait_for(training, "succeeded")
    first, second = stack.trial(training)["attempt_list"]
    assert (first["outcome"], first["error_kind"]) == ("failed", "crash")
    assert "the controller refused the result: 422: because of the gateway" in first["error"]
    assert second["outcome"] == "succeeded"
    assert "an earlier attempt had reached a result" in stack.log("w0")


def test_a_result_that_is_never_understood_fails_the_trial_and_stays_on_disk(stack: Stack, gateway: Gateway) -> None:
    gateway.answer("result", 422, holding='"outcome":"succeeded"')
    start_worker(stack, gateway, PAPLOSS_CRASH_PAUSE_SECONDS="0")
    training = stack.submit_training(synthetic=SHORT)
    stack.wait_for(training, "failed")
    trial = stack.trial(training)
    assert outcomes(stack, training) == ["failed"] * 3
    assert "refused the result: 422" in trial["error"]
    kept = list((stack.state / "trials" / trial["id"]).glob("*/result.json"))
    assert kept
    assert all('"succeeded"' in file.read_text() for file in kept)


def test_where_a_failure_is_not_understood_either_the_trial_is_released_within_its_budget(
    stack: Stack, gateway: Gateway
) -> None:
    gateway.answer("result", 422)
    start_worker(stack, gateway, PAPLOSS_CRASH_PAUSE_SECONDS="0")
    training = stack.submit_training(synthetic=SHORT, budgets={"max_preemptions": 2})
    stack.wait_for(training, "failed")
    assert outcomes(stack, training) == ["preempted"] * 3
    assert "more than max_preemptions (2) allows" in stack.trial(training)["error"]


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["held", "dripping"])
def test_a_worker_that_is_stopped_is_gone_in_time_whatever_its_controller_does(
    stack: Stack, gateway: Gateway, answer: str
) -> None:
    with Wire(("127.0.0.1", stack.port)) as wire:
        start_worker(
            stack,
            gateway,
            PAPLOSS_GRACE_SECONDS="1",
            PAPLOSS_CONTROLLER_URL=wire.http_url if answer == "held" else gateway.url,
        )
        training = stack.submit_training(synthetic=DEAF)
        wait_until(lambda: stack.trial(training)["iteration"] == 2, "the trainer to hang")
        trainers = stack.trainers()
        if answer == "held":
            wire.hold()
        else:
            for path in ("renew", "release"):
                gateway.drip(path)
        time.sleep(1)  # a renewal is under way
        stopped_at = time.monotonic()
        assert stack.kill_worker(number=signal.SIGTERM) == 0
        assert time.monotonic() - stopped_at < 1 + 10  # the trainer's grace, and what docs/faults.md promises
        wait_until(lambda: not any(trainer.is_running() for trainer in trainers), "the trainer to be gone")


@pytest.mark.slow
def test_a_trial_whose_claim_is_never_answered_does_not_stop_the_others(stack: Stack, gateway: Gateway) -> None:
    search = stack.submit(rounds=2, trials_per_round=3, synthetic=SHORT, confirm={"candidates": 1, "seeds": 1})
    gateway.answer("claim", 500, holding=f"{search}-000001")
    start_worker(stack, gateway)

    def ended() -> set[int]:
        return {trial["number"] for trial in stack.trials(search) if trial["state"] == "succeeded"}

    wait_until(lambda: ended() == {0, 2}, "the others to be trained")
    other = stack.submit_training(synthetic=SHORT)
    stack.wait_for(other, "succeeded")
    gateway.forget()
    stack.wait_for(search, "succeeded")
