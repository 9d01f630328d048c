"""What a search's GPUs did: hand-made intervals, and attempts that were preempted."""

import tracemalloc
from typing import Any

import pytest
from scenarios import add_search, claim, failed, finish, new_proxy, release, renew, search, succeeded
from sqlalchemy import update

from paploss.controller.store.database import Database
from paploss.controller.store.reading.gpu_time import GpuTime, Interval, add_up, read_gpu_time
from paploss.controller.store.tables import Attempt, Experiment, Trial, Worker
from paploss.controller.store.trials.proposals import add_trials


def test_what_is_neither_busy_nor_lost_is_idle() -> None:
    intervals = [
        Interval("a", "busy", 0, 4),
        Interval("a", "preempted", 4, 6),
        Interval("b", "busy", 5, 10),
        Interval("b", "elsewhere", 2, 3),
    ]
    use = add_up(intervals, {"a": 8.0}, (0, 10), bins=5, gpus=2)
    assert use.uses["busy"].tolist() == [2, 2, 1, 2, 2]
    assert use.uses["preempted"].tolist() == [0, 0, 2, 0, 0]
    assert use.uses["elsewhere"].tolist() == [0, 1, 0, 0, 0]
    assert use.idle.tolist() == [0, 1, 1, 2, 0]  # a until it was last seen, b from its first claim
    assert use.share("busy") == pytest.approx(18 / 32)
    assert sum((use.share("idle"), *(use.share(name) for name in use.uses))) == pytest.approx(1)


def test_without_any_attempt_nothing_was_used() -> None:
    use = add_up([], {}, (0, 10), bins=3, gpus=0)
    assert use.idle.tolist() == [0, 0, 0]
    assert use.share("busy") == 0


def test_attempts_cost_memory_by_their_number_and_not_by_the_number_of_parts() -> None:
    intervals = [Interval("a", "busy", begin, begin + 1) for begin in range(20_000)]
    tracemalloc.start()
    try:
        use = add_up(intervals, {}, (0, 20_000), bins=100, gpus=1)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert use.uses["busy"].tolist() == [1] * 100
    assert most_bytes < 10_000_000


def test_an_attempt_that_ends_before_it_began_takes_no_time() -> None:
    """After the clock was set back."""
    use = add_up([Interval("a", "busy", 8, 2), Interval("b", "busy", 4, 6)], {}, (0, 10), bins=5, gpus=1)
    assert use.uses["busy"].tolist() == [0, 0, 1, 0, 0]


@pytest.fixture
def made(database: Database) -> Experiment:
    """A search with two trials."""
    found = add_search(database)
    with database.write() as session:
        row = session.get_one(Experiment, found.id)
        add_trials(session, row, [new_proxy(index) for index in (0, 1)])
    return found


def set_times(database: Database, trial_id: str, number: int, **values: Any) -> None:
    with database.write() as session:
        session.execute(update(Attempt).where(Attempt.trial_id == trial_id, Attempt.number == number).values(**values))


def read(database: Database, made: Experiment) -> GpuTime:
    with database.write() as session:
        session.execute(update(Experiment).where(Experiment.id == made.id).values(finished_at=1100.0))
        session.execute(update(Worker).values(last_seen_at=0.0))
    with database.read() as session:
        return read_gpu_time(session, session.get_one(Experiment, made.id), bins=10)


def test_work_behind_the_checkpoint_of_a_preempted_attempt_is_lost(database: Database, made: Experiment) -> None:
    trial_id = f"{made.id}-000000"
    release(database, trial_id, claim(database, trial_id), "preempted")
    finish(database, trial_id, claim(database, trial_id, worker="w2"), succeeded())
    with database.write() as session:
        session.execute(update(Trial).where(Trial.id == trial_id).values(seconds=40.0, total_iterations=20))
    set_times(database, trial_id, 1, claimed_at=1000.0, ended_at=1050.0)
    set_times(database, trial_id, 2, claimed_at=1050.0, ended_at=1080.0, resumed_iteration=10)
    use = read(database, made)
    assert 10 * use.uses["busy"].sum() == pytest.approx(20 + 30)  # 10 iterations of 2 s, and all of the second
    assert 10 * use.uses["preempted"].sum() == pytest.approx(30)


def test_failed_attempts_and_those_without_a_checkpoint_are_lost_whole(database: Database, made: Experiment) -> None:
    first, second = f"{made.id}-000000", f"{made.id}-000001"
    token = claim(database, first)
    renew(database, first, token)
    finish(database, first, token, failed())
    release(database, second, claim(database, second), "preempted")
    claim(database, second)
    set_times(database, first, 1, claimed_at=1000.0, ended_at=1020.0)
    set_times(database, second, 1, claimed_at=1020.0, ended_at=1060.0)
    set_times(database, second, 2, claimed_at=1060.0, ended_at=1100.0, outcome="succeeded")
    use = read(database, made)
    assert 10 * use.uses["failed"].sum() == pytest.approx(20)
    assert 10 * use.uses["preempted"].sum() == pytest.approx(40)
    assert 10 * use.uses["busy"].sum() == pytest.approx(40)
    assert use.idle.sum() == pytest.approx(0)


def test_other_searches_of_the_same_worker_are_not_idleness(database: Database, made: Experiment) -> None:
    trial_id = f"{made.id}-000000"
    finish(database, trial_id, claim(database, trial_id), succeeded())
    other = add_search(database)
    with database.write() as session:
        row = session.get_one(Experiment, other.id)
        add_trials(session, row, [new_proxy(0)])
    elsewhere = f"{other.id}-000000"
    finish(database, elsewhere, claim(database, elsewhere), succeeded())
    set_times(database, trial_id, 1, claimed_at=1000.0, ended_at=1050.0)
    set_times(database, elsewhere, 1, claimed_at=1050.0, ended_at=2000.0)
    use = read(database, made)
    assert 10 * use.uses["elsewhere"].sum() == pytest.approx(50)
    assert search(database, made.id).state == "running"
