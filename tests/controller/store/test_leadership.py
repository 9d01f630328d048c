import pytest
from scenarios import pass_term

from paploss.controller.store.database import Database
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


def test_a_leader_that_resigns_is_followed_at_once(database: Database) -> None:
    first = lead(database, "a")
    assert first is not None
    with database.write() as session:
        resign(session, first)
    with database.read() as session:
        assert find_leader(session) is None
    assert lead(database, "b") is not None
