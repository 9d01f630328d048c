"""Which trials are claimed, and that one without an answer holds up no other. A real controller, queue and gateway."""

import logging
from collections.abc import Iterator

import pytest
from controllers import RunningController
from gateway import Gateway
from pydantic import SecretStr
from scenarios import training_spec
from stack import wait_until

from paploss.jobs.lease import WorkerInfo
from paploss.jobs.queue import Entry, TrialQueue
from paploss.worker.claims import Claims
from paploss.worker.controller import Controller, MismatchError
from paploss.worker.stopping import Stopping

INFO = WorkerInfo(name="w1")


@pytest.fixture
def queue(redis_url: str) -> Iterator[TrialQueue]:
    with TrialQueue(redis_url) as opened:
        yield opened


@pytest.fixture
def claims(running: RunningController, gateway: Gateway, queue: TrialQueue, monkeypatch) -> Iterator[Claims]:
    monkeypatch.setattr("paploss.worker.claims._PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr("paploss.worker.claims._PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("paploss.worker.claims._FIRST_AVOIDANCE_SECONDS", 0.5)
    with Controller(gateway.url, SecretStr(running.keys["worker"])) as controller:
        yield Claims(controller, queue, Stopping(grace_seconds=1))


def submit(running: RunningController, queue: TrialQueue, trials: int) -> list[Entry]:
    """Entries of so many trials, in their order, as soon as the leader has put them."""
    losses = [{"label": "start", "preset": "identity"}]
    with running.client() as client:
        client.create(training_spec(losses=losses, seeds=list(range(trials)), learning_rates=[]))
    wait_until(lambda: len(queue.present(0)) == trials, "the entries")
    taken = [queue.take([0], "w1", block_seconds=1, takeover_seconds=60) for _ in range(trials)]
    return [entry for entry in taken if entry is not None]


@pytest.mark.parametrize("status", [500, 503, 404])
def test_a_claim_without_an_answer_is_left_for_another_trial_and_tried_again_later(
    running: RunningController, queue: TrialQueue, gateway: Gateway, claims: Claims, status: int
) -> None:
    poison, sound = submit(running, queue, 2)
    rule = gateway.answer("claim", status, holding=poison.trial_id, kind="text/html")
    assert claims.claim(poison, INFO) is None
    assert rule.used > 1  # the first time with patience, for a reply may be lost
    lease = claims.claim(sound, INFO)
    assert lease is not None
    assert lease.trial_id == sound.trial_id
    assert queue.present(0) == {poison.trial_id}  # not acknowledged: others may try

    used = rule.used
    assert claims.claim(poison, INFO) is None
    assert rule.used == used  # its time has not come
    wait_until(lambda: claims.claim(poison, INFO) is None and rule.used > used, "its time")
    assert rule.used == used + 1

    gateway.forget()
    lease = wait_until(lambda: claims.claim(poison, INFO), "the claim to be answered")
    assert lease.trial_id == poison.trial_id
    assert queue.present(0) == set()


def test_each_silence_is_followed_by_a_longer_avoidance(
    running: RunningController, queue: TrialQueue, gateway: Gateway, claims: Claims, caplog
) -> None:
    (poison,) = submit(running, queue, 1)
    rule = gateway.answer("claim", 503)
    caplog.set_level(logging.WARNING, "paploss.worker.claims")
    assert claims.claim(poison, INFO) is None
    used = rule.used
    wait_until(lambda: claims.claim(poison, INFO) is None and rule.used == used + 2, "two more tries")
    waits = [record.args for record in caplog.records if "left to other" in record.message]
    assert waits == [(0.5,), (1.0,), (2.0,)]


def test_a_refused_claim_is_acknowledged(
    running: RunningController, queue: TrialQueue, gateway: Gateway, claims: Claims
) -> None:
    (entry,) = submit(running, queue, 1)
    gateway.answer("claim", 410)
    assert claims.claim(entry, INFO) is None
    assert queue.present(0) == set()


def test_a_lost_answer_costs_no_attempt(
    running: RunningController, queue: TrialQueue, gateway: Gateway, claims: Claims
) -> None:
    (entry,) = submit(running, queue, 1)
    gateway.answer("claim", 502, kind="text/html", times=1)
    lease = claims.claim(entry, INFO)
    assert lease is not None
    assert lease.attempt == 1


def test_a_controller_without_use_for_this_worker_is_told_apart(
    running: RunningController, queue: TrialQueue, gateway: Gateway, claims: Claims
) -> None:
    (entry,) = submit(running, queue, 1)
    gateway.answer("claim", 401)
    with pytest.raises(MismatchError):
        claims.claim(entry, INFO)
    assert queue.present(0) == {entry.trial_id}
