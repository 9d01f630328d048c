"""Failures are gathered by reason."""

from scenarios import add_training, claim, expire, failed, finish, release, renew

from paploss.controller.store.database import Database
from paploss.controller.store.reading.failures import read_failures


def test_attempts_without_a_result_are_counted_by_their_first_line(database: Database) -> None:
    training = add_training(database, seeds=[0, 1])
    ids = [f"{training.id}-{number:06d}" for number in range(4)]
    for number, trial_id in enumerate(ids[:2]):
        finish(database, trial_id, claim(database, trial_id), failed("crash", f"out of luck\nline {number}"))
    release(database, ids[2], claim(database, ids[2]), "preempted")
    renew(database, ids[3], claim(database, ids[3]))
    expire(database, ids[3])
    with database.read() as session:
        found = read_failures(session, training.id)
    assert [(row.outcome, row.error_kind, row.reason, row.count) for row in found[:1]] == [
        ("failed", "crash", "out of luck", 2)
    ]
    assert {(row.outcome, row.reason, row.count) for row in found[1:]} == {("preempted", "", 1), ("expired", "", 1)}
    assert found[0].trial_id == ids[1]
    assert found[0].last_at > 0


def test_a_search_without_failures_has_none(database: Database) -> None:
    with database.read() as session:
        assert read_failures(session, add_training(database).id) == []
