"""Which trials are claimed, and that one without an answer holds up no other."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from controllers import RunningController
from gateway import Gateway
from played_controller import PlayedController, PlayedTime
from pydantic import SecretStr
from scenarios import training_spec
from stack import wait_until

from paploss.jobs.lease import Granted, Lease, RenewRequest, WorkerInfo
from paploss.jobs.presets import identity
from paploss.jobs.queue import QueueEntry, TrialQueue
from paploss.jobs.spec import JobSpec
from paploss.worker.claims import Claims
from paploss.worker.controller import Controller, MismatchError, RefusedError, UnavailableError, UnreadableLeaseError

INFO = WorkerInfo(name="w1")
POISON, SOUND = "t-000000", "t-000001"


@pytest.fixture
def queue(redis_url: str) -> Iterator[TrialQueue]:
    with TrialQueue(redis_url) as opened:
        yield opened


@pytest.fixture
def entries(queue: TrialQueue) -> list[QueueEntry]:
    """Two trials that this worker took."""
    queue.put(0, [POISON, SOUND])
    taken = [queue.take([0], "w1", block_seconds=1, takeover_seconds=60) for _ in range(2)]
    return [entry for entry in taken if entry is not None]


def lease_of(trial_id: str) -> Lease:
    job = JobSpec(trial_id=trial_id, kind="proxy", profile="synthetic", loss=identity(["bbox_head"]))
    return Lease(trial_id=trial_id, token="0" * 32, attempt=1, lease_seconds=60, renew_seconds=5, job=job)


def unanswered(_trial_id: str) -> Any:
    raise UnavailableError("claim: 503")


def make(queue: TrialQueue, answer: Any) -> tuple[Claims, PlayedController, PlayedTime]:
    controller, time = PlayedController(answer), PlayedTime()
    return Claims(cast(Controller, controller), queue, time, time.clock), controller, time


def test_a_claim_without_an_answer_is_left_for_another_trial(queue: TrialQueue, entries: list[QueueEntry]) -> None:
    poison, sound = entries
    claims, controller, time = make(queue, lambda trial: unanswered(trial) if trial == POISON else lease_of(trial))
    assert claims.claim(poison, INFO) is None
    assert len(controller.asked) > 2  # the first time with patience, for a reply may be lost
    assert len({request.claim_id for request in controller.requests}) == 1  # and with one id, so that it costs nothing
    assert 30 <= time.now < 30 + 8
    assert claims.claim(sound, INFO) is not None
    assert queue.present(0) == {POISON}  # not acknowledged: others may try


def test_an_avoided_trial_is_tried_once_when_its_time_has_come(queue: TrialQueue, entries: list[QueueEntry]) -> None:
    claims, controller, time = make(queue, unanswered)
    claims.claim(entries[0], INFO)
    asked = len(controller.asked)
    assert claims.claim(entries[0], INFO) is None
    assert len(controller.asked) == asked  # not yet
    time.now += 30
    assert claims.claim(entries[0], INFO) is None
    assert len(controller.asked) == asked + 1
    time.now += 29
    claims.claim(entries[0], INFO)
    assert len(controller.asked) == asked + 1  # the second time for longer: 30 to 60 s
    time.now += 31
    controller.answer = lease_of
    assert claims.claim(entries[0], INFO) is not None
    assert queue.present(0) == {SOUND}
    controller.answer, asked = unanswered, len(controller.asked)
    claims.claim(entries[0], INFO)
    assert len(controller.asked) > asked + 2  # once answered, it is asked for with patience again


def test_pauses_between_claims_grow_and_differ_between_workers(queue: TrialQueue, entries: list[QueueEntry]) -> None:
    waits = []
    for _ in range(2):
        claims, _, time = make(queue, unanswered)
        claims.claim(entries[0], INFO)
        assert all(wait <= min(2**number, 8) for number, wait in enumerate(time.waits))
        waits.append(time.waits)
    assert waits[0] != waits[1]


def test_a_worker_that_is_to_end_claims_nothing(queue: TrialQueue, entries: list[QueueEntry]) -> None:
    claims, controller, time = make(queue, lease_of)
    time.set()
    assert claims.claim(entries[0], INFO) is None
    assert controller.asked == []


def test_a_controller_that_rejects_this_worker_is_told_apart(queue: TrialQueue, entries: list[QueueEntry]) -> None:
    def reject(_trial_id: str) -> Any:
        raise MismatchError("401")

    claims, _, _ = make(queue, reject)
    with pytest.raises(MismatchError):
        claims.claim(entries[0], INFO)
    assert queue.present(0) == {POISON, SOUND}


def test_a_lease_that_cannot_be_read_is_released_charged_and_ends_no_worker(
    queue: TrialQueue, entries: list[QueueEntry]
) -> None:
    def answer(trial_id: str) -> Any:
        if trial_id == POISON and len(controller.asked) == 1:
            raise UnreadableLeaseError("claim: noise", Granted(trial_id=trial_id, token="0" * 32))
        return lease_of(trial_id)

    claims, controller, time = make(queue, answer)
    assert claims.claim(entries[0], INFO) is None
    _, renewed, released = controller.requests
    assert isinstance(renewed, RenewRequest)  # only what has started is charged
    assert (released.trial_id, released.token, released.reason) == (POISON, "0" * 32, "preempted")
    assert queue.present(0) == {SOUND}
    assert len(time.waits) == 1
    assert claims.claim(entries[1], INFO) is not None


def test_a_lease_that_can_neither_be_read_nor_released_ends_no_worker(
    queue: TrialQueue, entries: list[QueueEntry]
) -> None:
    def answer(trial_id: str) -> Any:
        if len(controller.asked) == 1:
            raise UnreadableLeaseError("claim: noise", Granted(trial_id=trial_id, token="0" * 32))
        return unanswered(trial_id)

    claims, controller, _ = make(queue, answer)
    assert claims.claim(entries[0], INFO) is None
    assert queue.present(0) == {SOUND}


def test_a_lease_whose_entry_cannot_be_acknowledged_is_trained_all_the_same() -> None:
    with TrialQueue("redis://127.0.0.1:1/0") as nowhere:
        claims, _, _ = make(nowhere, lease_of)
        assert claims.claim(QueueEntry(0, "1-1", SOUND), INFO) == lease_of(SOUND)


def test_pauses_after_unreadable_leases_grow_until_one_can_be_read(queue: TrialQueue) -> None:
    def answer(_trial_id: str) -> Any:
        raise UnreadableLeaseError("claim: nothing in it", None)

    claims, controller, time = make(queue, answer)
    for number in range(10):
        claims.claim(QueueEntry(0, f"{number}-1", f"t-{number}"), INFO)
    assert all(wait <= min(5 * 2**number, 300) for number, wait in enumerate(time.waits))
    assert time.waits[-1] >= 150
    controller.answer = lease_of
    assert claims.claim(QueueEntry(0, "11-1", "t-11"), INFO) is not None
    controller.answer = answer
    claims.claim(QueueEntry(0, "12-1", "t-12"), INFO)
    assert time.waits[-1] <= 5


def test_a_refused_claim_is_acknowledged(queue: TrialQueue, entries: list[QueueEntry]) -> None:
    def refuse(_trial_id: str) -> Any:
        raise RefusedError(410, "it has ended")

    claims, _, time = make(queue, refuse)
    assert claims.claim(entries[0], INFO) is None
    assert queue.present(0) == {SOUND}
    assert time.waits == []


def test_a_lost_answer_of_a_real_controller_costs_no_attempt(
    running: RunningController, gateway: Gateway, queue: TrialQueue
) -> None:
    with running.client() as client:
        losses = [{"label": "start", "preset": "identity"}]
        client.create(training_spec(losses=losses, learning_rates=[]))
    entry = wait_until(lambda: queue.take([0], "w1", block_seconds=1, takeover_seconds=60), "the entry")
    rule = gateway.answer("claim", 502, kind="text/html", times=1)
    time = PlayedTime()
    with Controller(gateway.url, SecretStr(running.keys["worker"])) as controller:
        lease = Claims(controller, queue, time, time.clock).claim(entry, INFO)
    assert rule.used == 1
    assert lease is not None
    assert lease.attempt == 1
    assert queue.present(0) == set()
