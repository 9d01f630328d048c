from typing import Any

import pytest
from scenarios import add_trial, attempts, claim, evaluation, expire, failed, finish, metrics, renew, succeeded, trial
from sqlalchemy import select, update

from paploss.client.states import TrialState
from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.tables import Evaluation, Event, Trial
from paploss.controller.store.trials import leases
from paploss.controller.store.trials.results import finish_many
from paploss.jobs.lease import ResultRequest
from paploss.jobs.spec import MOST_EVALUATIONS, JobResult

PRUNED = JobResult(outcome="pruned", reward=0.1, metrics=metrics(0.1), iterations=5, seconds=1)


# The one kind of database that takes many steps in one transaction.
pytestmark = pytest.mark.databases("postgresql")


def running(database: Database) -> tuple[str, str]:
    """A trial that has been renewed, with its token."""
    trial_id = add_trial(database)
    token = claim(database, trial_id)
    renew(database, trial_id, token, iteration=7)
    return trial_id, token


def result(lease: tuple[str, str], told: JobResult | None = None, **more: Any) -> ResultRequest:
    return ResultRequest(trial_id=lease[0], token=lease[1], result=told or succeeded(), **more)


def ask(database: Database, *requests: ResultRequest) -> list[TrialState | None]:
    with database.write() as session:
        return finish_many(session, requests)


def rows(database: Database, trial_id: str) -> dict[str, Any]:
    """What a result writes, without what differs from one trial to the next; of times, whether they are set."""
    its, (attempt,) = trial(database, trial_id), attempts(database, trial_id)
    names = ("state", "reward", "diverged", "metrics", "checkpoint", "seconds", "iteration", "error", "error_kind")
    found = {name: getattr(its, name) for name in names}
    found |= {name: getattr(attempt, name) for name in ("outcome", "answer", "log_tail")}
    with database.read() as session:
        told = select(Event.kind, Event.level, Event.message).where(Event.trial_id == trial_id).order_by(Event.id)
        lines = [tuple(row) for row in session.execute(told)]
        measured = select(Evaluation.iteration, Evaluation.ap).where(Evaluation.trial_id == trial_id)
        evaluations = sorted(tuple(row) for row in session.execute(measured))
    ended = (its.finished_at is not None, attempt.ended_at is not None)
    return found | {"lines": lines, "evaluations": evaluations, "ended": ended}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"told": PRUNED},
        {"told": succeeded(diverged=True, checkpoint="final.pth", iterations=20)},
        {"evaluations": (evaluation(5, 0.1), evaluation(20, 0.25)), "log_tail": "the last line"},
    ],
)
def test_a_result_among_others_writes_what_it_writes_alone(database: Database, sent: dict[str, Any]) -> None:
    alone, among, other = (running(database) for _ in range(3))
    with database.write() as session:
        state = leases.finish(session, result(alone, **sent))
    assert ask(database, result(other), result(among, **sent)) == ["succeeded", state]
    assert rows(database, among[0]) == rows(database, alone[0])


def test_what_is_no_ordinary_result_is_left_and_changes_nothing(database: Database) -> None:
    broken, wrong, repeated, late = (running(database) for _ in range(4))
    finish(database, *repeated, succeeded())
    expire(database, late[0])
    claim(database, late[0], worker="w2")
    requests = [
        result(broken, failed()),
        result((wrong[0], "f" * 32)),
        result(repeated, PRUNED),
        result(late),
        result(("none-000000", "f" * 32)),
    ]
    assert ask(database, *requests) == [None] * 5
    states = [trial(database, each).state for each, _ in (broken, wrong, repeated, late)]
    assert states == ["running", "running", "succeeded", "running"]


def test_a_result_after_the_lease_counts_while_nobody_else_has_claimed(database: Database) -> None:
    lease = running(database)
    expire(database, lease[0])
    assert ask(database, result(lease)) == ["succeeded"]


def test_of_two_results_of_a_trial_one_is_left(database: Database) -> None:
    lease = running(database)
    assert ask(database, result(lease), result(lease, PRUNED)) == ["succeeded", None]
    assert trial(database, lease[0]).reward == 0.25


def test_a_trial_that_another_transaction_holds_is_not_waited_for(database: Database) -> None:
    held, free = running(database), running(database)
    with database.write() as session:
        session.execute(update(Trial).where(Trial.id == held[0]).values(label="held"))
        assert ask(database, result(held), result(free)) == [None, "succeeded"]
    assert trial(database, held[0]).state == "running"


def test_one_that_cannot_be_stored_leaves_all_as_they_were(database: Database) -> None:
    too_many, other = running(database), running(database)
    first, rest = MOST_EVALUATIONS // 2, MOST_EVALUATIONS // 2 + 1
    renew(database, *too_many, evaluations=tuple(evaluation(number, 0.1) for number in range(first)))
    more = tuple(evaluation(first + number, 0.1) for number in range(rest))
    with pytest.raises(ConflictError, match="evaluations"):
        ask(database, result(other), result(too_many, evaluations=more))
    assert {trial(database, each).state for each, _ in (too_many, other)} == {"running"}
