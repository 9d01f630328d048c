"""The numbers for monitoring, on each kind of database."""

from scenarios import LEASE_SECONDS, add_search, add_trial, claim, finish, pass_lease, succeeded

from paploss.controller.store.database import Database
from paploss.controller.store.reading import statistics
from paploss.controller.store.tables import Trial


def add_proxy(database: Database, experiment_id: str, number: int, **values: object) -> None:
    with database.write() as session:
        session.add(
            Trial(
                id=f"{experiment_id}-{number}",
                experiment_id=experiment_id,
                number=number,
                kind="proxy",
                seed=0,
                **values,
            )
        )


def test_an_empty_database_has_numbers_too(database: Database) -> None:
    with database.read() as session:
        assert statistics.count_queued(session) == {}
        assert statistics.read_oldest_lease_age(session, LEASE_SECONDS) == 0
        assert statistics.read_best_rewards(session, 5) == []


def test_queued_trials_are_counted_by_resource_class(database: Database) -> None:
    for gpus in (0, 2, 2):
        add_trial(database, gpus=gpus)
    with database.read() as session:
        assert statistics.count_queued(session) == {0: 1, 2: 2}


def test_the_oldest_lease_is_as_old_as_its_silence(database: Database) -> None:
    first, second = add_trial(database), add_trial(database)
    token = claim(database, first)
    claim(database, second)
    pass_lease(database, first)
    with database.read() as session:
        assert LEASE_SECONDS < statistics.read_oldest_lease_age(session, LEASE_SECONDS) < 2 * LEASE_SECONDS
    finish(database, first, token, succeeded())
    with database.read() as session:
        assert 0 <= statistics.read_oldest_lease_age(session, LEASE_SECONDS) < LEASE_SECONDS


def test_the_newest_running_searches_tell_their_best_reward(database: Database) -> None:
    old, middle, newest = (add_search(database, name=name) for name in ("old", "middle", "newest"))
    for number, reward in enumerate((0.1, 0.3, 0.2)):
        add_proxy(database, middle.id, number, state="succeeded", reward=reward)
    with database.read() as session:
        found = statistics.read_best_rewards(session, 2)
    assert [(row.experiment_id, row.name, row.reward) for row in found] == [
        (newest.id, "newest", None),
        (middle.id, "middle", 0.3),
    ]
    assert old.id not in {row.experiment_id for row in found}
