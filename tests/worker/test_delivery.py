"""How results get to a controller that does not answer, or not for every one of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from analyses import make_analysis
from controllers import PlayedWorker, RunningController
from gateway import Gateway
from played_controller import PlayedController, PlayedTime
from pydantic import SecretStr
from scenarios import training_spec

from paploss.jobs.lease import Accepted, Lease, ResultRequest
from paploss.jobs.presets import identity
from paploss.jobs.spec import JobResult, JobSpec
from paploss.worker.controller import Controller, RefusedError, UnavailableError
from paploss.worker.delivery import Deliveries
from paploss.worker.state import AttemptFolder, StateVolume

REWARD = JobResult(outcome="succeeded", reward=0.25)
ACCEPTED = Accepted(state="succeeded")
Result = tuple[AttemptFolder, ResultRequest]


@pytest.fixture
def volume(tmp_path: Path) -> StateVolume:
    return StateVolume(tmp_path / "volume")


def leave_result(volume: StateVolume, trial_id: str, **job_fields: Any) -> Result:
    """A result on disk, as an attempt leaves it."""
    given = {"kind": "proxy", "profile": "synthetic", "loss": identity(["bbox_head"])} | job_fields
    job = JobSpec(trial_id=trial_id, **given)
    folder = volume.open_attempt(
        Lease(trial_id=trial_id, token="0" * 32, attempt=1, lease_seconds=60, renew_seconds=5, job=job)
    )
    request = ResultRequest(trial_id=trial_id, token="0" * 32, result=REWARD)
    folder.write_result(request)
    return folder, request


def make(
    volume: StateVolume, answer: Callable[[str], Any], stop_at: float = float("inf")
) -> tuple[Deliveries, PlayedController, PlayedTime]:
    controller, time = PlayedController(answer), PlayedTime(stop_at)
    return Deliveries(cast(Controller, controller), volume, time, time.clock), controller, time


def unanswered(_trial_id: str) -> Any:
    raise UnavailableError("result: 503")


def test_a_result_that_goes_unanswered_is_left_to_what_runs_beside_the_slots(volume: StateVolume) -> None:
    deliveries, controller, time = make(volume, unanswered, stop_at=100)
    folder, request = leave_result(volume, "t-0")
    assert deliveries.deliver(folder, request) is None
    assert 30 <= time.now <= 30 + 15
    assert len(controller.asked) > 3
    assert not folder.answer_file.exists()
    controller.answer = lambda _: ACCEPTED
    deliveries.deliver_left_over()
    assert not folder.path.exists()  # it counts, so its files are removed


def test_the_files_of_a_short_trial_stay_until_the_one_that_continues_it_has_ended(volume: StateVolume) -> None:
    states = {"t-0": "succeeded", "t-1": "queued", "t-2": "failed"}
    deliveries, _, _ = make(volume, lambda trial: Accepted(state=states[trial]))
    deliveries.deliver(*leave_result(volume, "t-0", length=0.25))
    assert volume.trial_ids() == ["t-0"]
    longer = leave_result(volume, "t-1", length=0.5, continues="t-0")
    deliveries.deliver(*longer)  # it is tried again
    assert volume.trial_ids() == ["t-0", "t-1"]
    states["t-1"] = "succeeded"
    deliveries.deliver(*longer)
    assert volume.trial_ids() == ["t-1"]
    deliveries.deliver(*leave_result(volume, "t-2", continues="t-1"))
    assert volume.trial_ids() == []


def test_the_weights_of_a_final_training_stay(volume: StateVolume) -> None:
    deliveries, _, _ = make(volume, lambda _: ACCEPTED)
    deliveries.deliver(*leave_result(volume, "t-0", kind="final"))
    assert volume.trial_ids() == ["t-0"]


def test_pauses_grow_up_to_a_quarter_of_a_minute_and_differ(volume: StateVolume) -> None:
    waits = []
    for number in range(2):
        deliveries, _, time = make(volume, unanswered)
        deliveries.deliver(*leave_result(volume, f"t-{number}"))
        assert all(wait <= min(2**place, 15) for place, wait in enumerate(time.waits))
        waits.append(time.waits)
    assert waits[0] != waits[1]


def test_a_left_over_that_no_controller_can_answer_for_keeps_no_other_waiting(volume: StateVolume) -> None:
    (poison, _), (sound, _) = leave_result(volume, "t-0"), leave_result(volume, "t-1")
    deliveries, controller, _ = make(volume, lambda trial: unanswered(trial) if trial == "t-0" else ACCEPTED, 60)
    deliveries.deliver_left_over()
    assert controller.asked[:2] == ["t-0", "t-1"]
    assert controller.asked[2:].count("t-0") == len(controller.asked) - 2 > 2  # again and again, by itself
    assert list(volume.undelivered()) == [poison]
    assert not sound.path.exists()


def test_a_refusal_is_noted_and_told_to_whoever_delivers(volume: StateVolume) -> None:
    def refuse(_trial_id: str) -> Any:
        raise RefusedError(422, "because")

    deliveries, _, time = make(volume, refuse)
    folder, request = leave_result(volume, "t-0")
    refusal = deliveries.deliver(folder, request)
    assert refusal is not None
    assert refusal.status == 422
    assert "422" in folder.answer_file.read_text()
    assert folder.result() == request  # kept
    assert list(volume.undelivered()) == []
    assert time.waits == []


def test_a_worker_that_is_to_end_tries_once_and_leaves_the_result_to_the_next(volume: StateVolume) -> None:
    deliveries, controller, time = make(volume, unanswered)
    folder, request = leave_result(volume, "t-0")
    time.set()
    assert deliveries.deliver(folder, request) is None
    assert controller.asked == ["t-0"]
    assert list(volume.undelivered()) == [folder]


def test_a_result_counts_at_a_real_controller_that_answers_at_last(
    running: RunningController, gateway: Gateway, volume: StateVolume
) -> None:
    losses = [{"label": "start", "preset": "identity"}]
    with running.client() as client, running.http("worker") as http:
        training = client.create(training_spec(losses=losses, kind="comparison", learning_rates=[]))
        lease = PlayedWorker(http).claim(f"{training.id}-000000")
        folder = volume.open_attempt(lease)
        request = ResultRequest(trial_id=lease.trial_id, token=lease.token, result=REWARD)
        folder.write_result(request)
        rule = gateway.answer("result", 503, times=2)
        time = PlayedTime()
        with Controller(gateway.url, SecretStr(running.keys["worker"])) as controller:
            assert Deliveries(controller, volume, time, time.clock).deliver(folder, request) is None
        assert rule.used == 2
        assert client.get_trial(request.trial_id).state == "succeeded"
    assert not folder.path.exists()


@pytest.mark.parametrize("status", [413, 422])
def test_a_result_whose_analysis_is_refused_goes_without_it(volume: StateVolume, status: int) -> None:
    deliveries, controller, _ = make(volume, lambda _: ACCEPTED)

    def answer(_trial_id: str) -> Any:
        if controller.requests[-1].analysis is not None:
            raise RefusedError(status, "too large")
        return ACCEPTED

    controller.answer = answer
    folder, request = leave_result(volume, "t-0")
    assert deliveries.deliver(folder, request.model_copy(update={"analysis": make_analysis()})) is None
    assert [sent.analysis is None for sent in controller.requests] == [False, True]
    assert not folder.path.exists()


def test_a_lost_lease_is_lost_with_and_without_an_analysis(volume: StateVolume) -> None:
    def refuse(_trial_id: str) -> Any:
        raise RefusedError(409, "another attempt has claimed it since")

    deliveries, controller, _ = make(volume, refuse)
    folder, request = leave_result(volume, "t-0")
    refusal = deliveries.deliver(folder, request.model_copy(update={"analysis": make_analysis()}))
    assert refusal is not None
    assert refusal.lease_lost
    assert len(controller.requests) == 1
