from typing import Any

import pytest
from scenarios import LEASE_SECONDS, add_trial, attempts, claim, evaluation, expire, finish, renew, succeeded, trial
from sqlalchemy import literal_column, select, update

from paploss.controller.store.database import Database, now
from paploss.controller.store.tables import Attempt, Evaluation, Experiment, Trial, Worker
from paploss.controller.store.trials import leases
from paploss.controller.store.trials.renewals import renew_many
from paploss.jobs.lease import Command, GpuUse, RenewRequest
from paploss.jobs.spec import ProgressEvent, StartEvent

PROGRESS = ProgressEvent(iteration=7, total_iterations=20, loss=0.5)
START = StartEvent(total_iterations=20, resumed_iteration=5, environment={"torch": "2.13.0"}, warnings=("no boxes",))
USE = GpuUse(memory_used_bytes=1, memory_total_bytes=2, utilisation=0.5)


# The one kind of database that takes many steps in one transaction.
pytestmark = pytest.mark.databases("postgresql")


def ask(database: Database, *requests: RenewRequest) -> list[Command | None]:
    with database.write() as session:
        return renew_many(session, requests, LEASE_SECONDS)


def rows(database: Database, trial_id: str) -> dict[str, Any]:
    """What a renewal may write, without what differs from one trial to the next; of times, whether they are set."""
    its, (attempt,) = trial(database, trial_id), attempts(database, trial_id)
    with database.read() as session:
        worker = session.get_one(Worker, its.worker)
        is_leased = session.scalar(select(Trial.lease_until > now() + LEASE_SECONDS / 2).where(Trial.id == trial_id))
        is_seen = session.scalar(select(Worker.last_seen_at > now() - 30).where(Worker.name == its.worker))
    names = ("state", "attempt", "iteration", "total_iterations", "progress_loss")
    found = {name: getattr(its, name) for name in names}
    found |= {name: getattr(attempt, name) for name in ("environment", "warnings", "resumed_iteration", "log_tail")}
    started = (its.started_at is not None, attempt.started_at is not None)
    return found | {"started": started, "leased": is_leased, "seen": is_seen, "gpu_use": worker.gpu_use}


def forget(database: Database) -> None:
    """As if nobody had been heard of for long."""
    with database.write() as session:
        session.execute(update(Worker).values(last_seen_at=now() - 60))
        session.execute(update(Trial).values(lease_until=now() + 1))


@pytest.mark.parametrize(
    "sent",
    [
        [{}],
        [{"progress": PROGRESS}],
        [{"start": START, "progress": PROGRESS, "log_tail": "a line"}],
        [{}, {"start": START}],
        [{"start": START}, {"start": START.model_copy(update={"warnings": ()}), "progress": PROGRESS}],
        [{"start": START, "log_tail": "a line"}, {"progress": PROGRESS}, {"log_tail": "two lines"}],
        [{"gpu_use": (USE,)}, {}],
    ],
)
def test_a_renewal_among_others_writes_what_it_writes_alone(database: Database, sent: list[dict[str, Any]]) -> None:
    alone, among, other = (add_trial(database) for _ in range(3))
    tokens = {trial_id: claim(database, trial_id, worker=f"of {trial_id}") for trial_id in (alone, among, other)}
    for fields in sent:
        forget(database)
        request = RenewRequest(trial_id=among, token=tokens[among], **fields)
        second = RenewRequest(trial_id=other, token=tokens[other])
        with database.write() as session:
            leases.renew(session, RenewRequest(trial_id=alone, token=tokens[alone], **fields), LEASE_SECONDS)
        assert ask(database, second, request) == ["continue", "continue"]
        assert rows(database, among) == rows(database, alone)


def test_what_is_no_ordinary_renewal_is_left_and_changes_nothing(database: Database) -> None:
    wrong, expired, ended, measured = (add_trial(database) for _ in range(4))
    tokens = {trial_id: claim(database, trial_id) for trial_id in (wrong, expired, ended, measured)}
    expire(database, expired)
    finish(database, ended, tokens[ended], succeeded())
    requests = [
        RenewRequest(trial_id=wrong, token="f" * 32, progress=PROGRESS),
        RenewRequest(trial_id=expired, token=tokens[expired], progress=PROGRESS),
        RenewRequest(trial_id=ended, token=tokens[ended], progress=PROGRESS),
        RenewRequest(trial_id=measured, token=tokens[measured], progress=PROGRESS, evaluations=(evaluation(5, 0.1),)),
        RenewRequest(trial_id="none-000000", token="f" * 32),
    ]
    assert ask(database, *requests) == [None] * 5
    assert [trial(database, each).state for each in tokens] == ["running", "queued", "succeeded", "running"]
    assert {trial(database, each).progress_loss for each in tokens} == {None}


def test_evaluations_that_are_stored_are_no_obstacle(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    renew(database, trial_id, token, evaluations=(evaluation(5, 0.1),))
    request = RenewRequest(trial_id=trial_id, token=token, progress=PROGRESS, evaluations=(evaluation(5, 0.1),))
    assert ask(database, request) == ["continue"]
    with database.read() as session:
        assert session.scalars(select(Evaluation.iteration)).all() == [5]


def test_of_two_renewals_of_a_trial_one_is_left(database: Database) -> None:
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    request = RenewRequest(trial_id=trial_id, token=token)
    assert ask(database, request, RenewRequest(trial_id=trial_id, token="f" * 32)) == ["continue", None]


def test_a_trial_that_another_transaction_holds_is_not_waited_for(database: Database) -> None:
    held, free = add_trial(database), add_trial(database)
    tokens = {trial_id: claim(database, trial_id) for trial_id in (held, free)}
    requests = [RenewRequest(trial_id=each, token=tokens[each], progress=PROGRESS) for each in (held, free)]
    with database.write() as session:
        session.execute(update(Trial).where(Trial.id == held).values(label="held"))
        session.execute(update(Worker).values(device="held"))
        assert ask(database, *requests) == [None, "continue"]
    assert (trial(database, held).iteration, trial(database, free).iteration) == (0, 7)


def test_a_paused_experiment_pauses_its_trials(database: Database) -> None:
    paused, running = add_trial(database), add_trial(database)
    tokens = {trial_id: claim(database, trial_id) for trial_id in (paused, running)}
    with database.write() as session:
        experiment_id = session.get_one(Trial, paused).experiment_id
        session.execute(update(Experiment).where(Experiment.id == experiment_id).values(state="paused"))
    requests = [RenewRequest(trial_id=each, token=tokens[each]) for each in (paused, running)]
    assert ask(database, *requests) == ["pause", "continue"]


def test_the_slots_of_a_worker_renew_together(database: Database) -> None:
    trial_ids = [add_trial(database) for _ in range(3)]
    requests = [RenewRequest(trial_id=each, token=claim(database, each), gpu_use=(USE,)) for each in trial_ids]
    forget(database)
    assert ask(database, *requests) == ["continue"] * 3
    assert rows(database, trial_ids[0])["seen"]


def test_nothing_is_written_of_what_an_attempt_has_told_before(database: Database) -> None:
    trial_id = add_trial(database)
    request = RenewRequest(trial_id=trial_id, token=claim(database, trial_id), start=START)
    version = select(literal_column("attempts.xmin::text")).select_from(Attempt)
    ask(database, request)
    with database.read() as session:
        written = session.scalars(version).one()
    assert ask(database, request) == ["continue"]
    with database.read() as session:
        assert session.scalars(version).one() == written
