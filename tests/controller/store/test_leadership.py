import pytest
from scenarios import pass_term
from sqlalchemy import text

from paploss.controller.store.database import Database, DatabaseError
from paploss.controller.store.errors import LeadershipLostError
from paploss.controller.store.leadership import Term, acquire, check, drive, find_leader, resign


def lead(database: Database, holder: str) -> Term | None:
    with database.write() as session:
        return acquire(session, holder, 15)


def test_one_leads_and_the_others_wait(database: Database) -> None:
    first = lead(database, "a")
    assert first is not None
    assert lead(database, "b") is None
    assert lead(database, "a") == first
    with database.read() as session:
        leader = find_leader(session)
    assert leader is not None
    assert (leader.holder, leader.epoch) == ("a", 1)


def test_a_term_that_ran_out_goes_to_the_next_with_a_new_epoch(database: Database) -> None:
    first = lead(database, "a")
    assert first is not None
    pass_term(database)
    second = lead(database, "b")
    assert second is not None
    assert second.epoch == first.epoch + 1
    with pytest.raises(LeadershipLostError), drive(database, first):
        pass
    with drive(database, second):
        pass
    assert lead(database, "a") is None


def test_a_leader_that_slept_through_its_term_starts_a_new_one(database: Database) -> None:
    first = lead(database, "a")
    assert first is not None
    pass_term(database)
    with pytest.raises(LeadershipLostError), database.write() as session:
        check(session, first)
    second = lead(database, "a")
    assert second is not None
    assert second.epoch == first.epoch + 1
    with pytest.raises(LeadershipLostError), database.write() as session:
        check(session, first)


@pytest.mark.databases("postgresql")
def test_nobody_takes_over_in_the_middle_of_a_leaders_transaction(database: Database) -> None:
    """On SQLite there is one writer at a time."""
    first = lead(database, "a")
    assert first is not None
    with drive(database, first), database.write() as other:
        other.execute(text("SET LOCAL lock_timeout = 1"))
        with pytest.raises(DatabaseError, match="lock timeout"):
            acquire(other, "b", 0.001)  # for which the term of 15 s is one of the future
        other.rollback()


def test_a_leader_that_was_followed_ends_no_other_term_when_it_resigns(database: Database) -> None:
    first = lead(database, "a")
    assert first is not None
    pass_term(database)
    assert lead(database, "b") is not None
    with database.write() as session:
        resign(session, first)
    assert lead(database, "c") is None


def test_a_leader_that_resigns_is_followed_at_once(database: Database) -> None:
    first = lead(database, "a")
    assert first is not None
    with database.write() as session:
        resign(session, first)
    with database.read() as session:
        assert find_leader(session) is None
    assert lead(database, "b") is not None
