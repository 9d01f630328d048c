import uuid
from typing import Any

import pytest
from scenarios import LEASE_SECONDS, add_training, add_trial, attempts, claim, finish, succeeded, trial
from sqlalchemy import select, update

from paploss.controller.store.database import Database, now
from paploss.controller.store.experiments import pause_experiment
from paploss.controller.store.tables import Trial, Worker
from paploss.controller.store.trials import leases
from paploss.controller.store.trials.claims import claim_many
from paploss.controller.store.trials.steps import Grant
from paploss.jobs.lease import ClaimRequest, WorkerInfo

# The one kind of database that takes many steps in one transaction.
pytestmark = pytest.mark.databases("postgresql")


def request(trial_id: str, worker: str = "w1", claim_id: uuid.UUID | None = None) -> ClaimRequest:
    info = WorkerInfo(name=worker, host="a host", gpus=1, device="a device", versions={"torch": "2.13.0"})
    return ClaimRequest(claim_id=claim_id or uuid.uuid4(), trial_id=trial_id, worker=info)


def ask(database: Database, *requests: ClaimRequest) -> list[Grant | None]:
    with database.write() as session:
        return claim_many(session, requests, LEASE_SECONDS)


def rows(database: Database, trial_id: str) -> dict[str, Any]:
    """What a claim writes, without what differs from one trial to the next."""
    its, (attempt,) = trial(database, trial_id), attempts(database, trial_id)
    with database.read() as session:
        worker = session.get_one(Worker, its.worker)
        is_leased = session.scalar(select(Trial.lease_until > now() + LEASE_SECONDS / 2).where(Trial.id == trial_id))
    found = {name: getattr(its, name) for name in ("state", "attempt", "started_at", "iteration")}
    found |= {name: getattr(attempt, name) for name in ("number", "host", "device", "environment", "outcome")}
    found |= {name: getattr(worker, name) for name in ("host", "gpus", "device", "versions")}
    return found | {"leased": is_leased, "has_token": its.token == attempt.token, "named": attempt.worker == its.worker}


def test_a_claim_among_others_is_granted_and_writes_what_it_writes_alone(database: Database) -> None:
    alone, among, other = (add_trial(database) for _ in range(3))
    with database.write() as session:
        single = leases.claim(session, request(alone, "of alone"), LEASE_SECONDS)
    second, grant = ask(database, request(other, "of other"), request(among, "of among"))
    assert (grant and grant.trial_id, second and second.trial_id) == (among, other)
    assert grant is not None
    own = {"trial_id", "experiment_id", "token", "spec"}
    assert {k: v for k, v in vars(grant).items() if k not in own} == {
        k: v for k, v in vars(single).items() if k not in own
    }
    assert grant.token == trial(database, among).token
    assert rows(database, among) == rows(database, alone)


def test_what_is_no_ordinary_claim_is_left_and_changes_nothing(database: Database) -> None:
    running, ended, paused, free = (add_trial(database) for _ in range(4))
    capped = f"{add_training(database, max_running_trials=1).id}-000000"
    claim(database, running)
    finish(database, ended, claim(database, ended), succeeded())
    with database.write() as session:
        pause_experiment(session, trial(database, paused).experiment_id)
    left = [running, ended, paused, capped, "none-000000"]
    *answers, granted = ask(database, *map(request, left), request(free))
    assert answers == [None] * 5
    assert granted is not None
    states = [trial(database, each).state for each in (running, ended, paused, capped)]
    assert states == ["running", "succeeded", "queued", "queued"]
    assert trial(database, running).attempt == 1


def test_a_repeated_claim_is_left_for_its_first_answer(database: Database) -> None:
    trial_id, claim_id = add_trial(database), uuid.uuid4()
    claim(database, trial_id, claim_id)
    assert ask(database, request(trial_id, claim_id=claim_id)) == [None]
    assert len(attempts(database, trial_id)) == 1


def test_of_two_claims_of_a_trial_one_is_left(database: Database) -> None:
    trial_id = add_trial(database)
    first, second = ask(database, request(trial_id, "w1"), request(trial_id, "w2"))
    assert first is not None
    assert second is None
    assert [attempt.worker for attempt in attempts(database, trial_id)] == ["w1"]


def test_of_two_claims_with_one_claim_id_one_is_left(database: Database) -> None:
    trial_ids, claim_id = [add_trial(database) for _ in range(2)], uuid.uuid4()
    answers = ask(database, *(request(each, claim_id=claim_id) for each in trial_ids))
    assert [answer is None for answer in answers].count(True) == 1
    assert sorted(trial(database, each).state for each in trial_ids) == ["queued", "running"]


def test_a_trial_that_another_transaction_holds_is_not_waited_for(database: Database) -> None:
    held, free = add_trial(database), add_trial(database)
    with database.write() as session:
        session.execute(update(Trial).where(Trial.id == held).values(label="held"))
        first, second = ask(database, request(held), request(free))
    assert first is None
    assert second is not None
    assert [trial(database, each).state for each in (held, free)] == ["queued", "running"]


def test_the_slots_of_a_worker_claim_together(database: Database) -> None:
    trial_ids = [add_trial(database) for _ in range(3)]
    assert None not in ask(database, *map(request, trial_ids))
    with database.read() as session:
        assert session.scalars(select(Worker.name)).all() == ["w1"]
