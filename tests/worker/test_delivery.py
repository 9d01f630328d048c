"""How results get to a controller that does not answer, or not for every one of them."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from controllers import PlayedWorker, RunningController
from gateway import Gateway
from pydantic import SecretStr
from scenarios import training_spec
from stack import wait_until

from paploss.jobs.lease import ResultRequest
from paploss.jobs.spec import JobResult
from paploss.worker.controller import Controller
from paploss.worker.delivery import Deliveries
from paploss.worker.state import AttemptFolder, StateVolume
from paploss.worker.stopping import Stopping

REWARD = JobResult(outcome="succeeded", reward=0.25)


@pytest.fixture
def volume(tmp_path: Path) -> StateVolume:
    return StateVolume(tmp_path / "volume")


@pytest.fixture
def stopping() -> Stopping:
    return Stopping(grace_seconds=1)


@pytest.fixture
def deliveries(
    running: RunningController, gateway: Gateway, volume: StateVolume, stopping: Stopping, monkeypatch
) -> Iterator[Deliveries]:
    monkeypatch.setattr("paploss.worker.delivery._PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr("paploss.worker.delivery._FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("paploss.worker.delivery._LONGEST_PAUSE_SECONDS", 0.1)
    with Controller(gateway.url, SecretStr(running.keys["worker"])) as controller:
        yield Deliveries(controller, volume, stopping)


@pytest.fixture
def thread(deliveries: Deliveries, stopping: Stopping) -> Iterator[threading.Thread]:
    """What runs beside the slots; a test starts it."""
    made = threading.Thread(target=deliveries.deliver_left_over)
    yield made
    stopping.set()
    made.join()


def finish_trials(
    running: RunningController, volume: StateVolume, count: int
) -> list[tuple[AttemptFolder, ResultRequest]]:
    """So many trials that were claimed and have a result, which is on disk."""
    losses = [{"label": "start", "preset": "identity"}]
    spec = training_spec(losses=losses, kind="comparison", seeds=list(range(count)), learning_rates=[])
    finished = []
    with running.client() as client, running.http("worker") as http:
        training = client.create(spec)
        for number in range(count):
            lease = PlayedWorker(http).claim(f"{training.id}-{number:06d}")
            folder = volume.open_attempt(lease)
            request = ResultRequest(trial_id=lease.trial_id, token=lease.token, result=REWARD)
            folder.write_result(request)
            finished.append((folder, request))
    return finished


def state_of(running: RunningController, request: ResultRequest) -> str:
    with running.client() as client:
        return client.get_trial(request.trial_id).state


def test_a_result_that_goes_unanswered_is_left_to_the_thread_beside_the_slots(
    running: RunningController, gateway: Gateway, volume: StateVolume, deliveries: Deliveries, thread: threading.Thread
) -> None:
    thread.start()
    ((folder, request),) = finish_trials(running, volume, 1)
    rule = gateway.answer("result", 503)
    assert deliveries.deliver(folder, request) is None
    assert rule.used > 1
    assert not folder.answer_file.exists()
    assert state_of(running, request) == "running"
    gateway.forget()
    wait_until(lambda: state_of(running, request) == "succeeded", "the result to count")
    wait_until(lambda: not folder.path.exists(), "its files to be removed")


def test_a_left_over_that_no_controller_can_answer_for_keeps_no_other_waiting(
    running: RunningController, gateway: Gateway, volume: StateVolume, thread: threading.Thread
) -> None:
    (poison_folder, poison), (_, sound) = finish_trials(running, volume, 2)
    rule = gateway.answer("result", 500, holding=poison.trial_id)
    thread.start()
    wait_until(lambda: state_of(running, sound) == "succeeded", "the other result to count")
    wait_until(lambda: rule.used > 2, "the first to be tried again")
    assert list(volume.undelivered()) == [poison_folder]


def test_a_refusal_is_handed_to_whoever_delivers_and_noted(
    running: RunningController, gateway: Gateway, volume: StateVolume, deliveries: Deliveries
) -> None:
    ((folder, request),) = finish_trials(running, volume, 1)
    gateway.answer("result", 422)
    refusal = deliveries.deliver(folder, request)
    assert refusal is not None
    assert refusal.status == 422
    assert "422" in folder.answer_file.read_text()
    assert folder.result() == request  # kept
    assert list(volume.undelivered()) == []


def test_a_worker_that_is_to_end_tries_once_and_leaves_the_result_to_the_next(
    running: RunningController, gateway: Gateway, volume: StateVolume, deliveries: Deliveries, stopping: Stopping
) -> None:
    ((folder, request),) = finish_trials(running, volume, 1)
    rule = gateway.answer("result", 503)
    stopping.set()
    assert deliveries.deliver(folder, request) is None
    assert rule.used == 1
    assert list(volume.undelivered()) == [folder]
