"""Sums over all trials, stored as far as they cannot change: they are always what a count of all rows gives."""

from collections import Counter

from scenarios import add_search, add_training, add_trial, claim, failed, finish, new_proxy, release, renew, succeeded
from sqlalchemy import func, select

from paploss.controller.store import experiments
from paploss.controller.store.database import Database
from paploss.controller.store.experiments import lock_experiment
from paploss.controller.store.tables import Attempt, Experiment, Tally, Trial
from paploss.controller.store.trials import proposals, tallies, transitions
from paploss.jobs.spec import JobResult


def advance(database: Database) -> int:
    """Tally what can be, as the leader does, and compare with a count of all rows; how many steps it took."""
    steps = 0
    check(database)
    while True:
        with database.read() as session:
            stretch = tallies.find_stretch(session)
            sums = None if stretch is None else tallies.add_up(session, stretch)
        if stretch is None or sums is None:
            return steps
        with database.write() as session:
            tallies.store(session, stretch, sums)
            tallies.store(session, stretch, sums)  # as a leader does that was cut off before it knew: no difference
        steps += 1
        check(database)


def check(database: Database) -> None:
    """The sums are what they say."""
    with database.read() as session:
        totals = tallies.read_totals(session)
        outcomes = select(Attempt.outcome, func.count()).where(Attempt.outcome.is_not(None)).group_by(Attempt.outcome)
        states = (
            select(Trial.state, func.count())
            .join(Experiment)
            .where(Experiment.state.in_(["running", "paused"]))
            .group_by(Trial.state)
        )
        proxies = select(Trial.seconds).where(Trial.kind == "proxy", Trial.reward.is_not(None))
        seconds = sorted(session.scalars(proxies))
        assert sum((Counter(each.attempts) for each in totals.values()), Counter()) == dict(
            session.execute(outcomes).all()
        )
        assert tallies.count_live_trials(session) == dict(session.execute(states).all())
        assert sum(each.proxies for each in totals.values()) == len(seconds)
        assert sum(each.proxy_seconds for each in totals.values()) == sum(seconds)
        for index, bound in enumerate(tallies.DURATION_BOUNDS_SECONDS):
            within = sum(each.proxies_within[index] for each in totals.values())
            assert within == sum(each <= bound for each in seconds)


def reaches_to(database: Database, experiment_id: str) -> int:
    with database.read() as session:
        tally = session.get(Tally, experiment_id)
        return 0 if tally is None else tally.until


def add_proxies(database: Database, count: int) -> str:
    """Id of a search with so many proxies."""
    search = add_search(database)
    with database.write() as session:
        proposals.add_trials(session, lock_experiment(session, search.id), [new_proxy(n) for n in range(count)])
    return search.id


def took(seconds: float) -> JobResult:
    return succeeded().model_copy(update={"seconds": seconds})


def test_an_empty_database_has_no_sums(database: Database) -> None:
    assert advance(database) == 0


def test_a_tally_reaches_to_the_first_open_trial(database: Database) -> None:
    search = add_proxies(database, 2 * tallies.LEAST_AT_ONCE)
    trial_ids = [f"{search}-{number:06d}" for number in range(2 * tallies.LEAST_AT_ONCE)]
    late, *others = trial_ids
    for number, trial_id in enumerate(others[: tallies.LEAST_AT_ONCE]):
        finish(database, trial_id, claim(database, trial_id), took(float(number * number)))
    assert advance(database) == 0  # the first one is open
    token = claim(database, late)
    renew(database, late, token)
    assert advance(database) == 0
    release(database, late, token, "preempted")
    token = claim(database, late)
    finish(database, late, token, failed("crash", "no"))
    assert advance(database) == 0  # it is to be retried
    finish(database, late, claim(database, late), took(7.0))
    assert advance(database) == 1
    assert reaches_to(database, search) == tallies.LEAST_AT_ONCE + 1
    with database.write() as session:
        transitions.cancel_trial(session, trial_ids[-1])
    assert advance(database) == 0
    with database.write() as session:
        experiments.cancel_experiment(session, search)
    assert advance(database) == 1
    assert reaches_to(database, search) == 2 * tallies.LEAST_AT_ONCE


def test_the_sums_of_what_is_deleted_go_with_it(database: Database) -> None:
    for _ in range(2):
        trial_id = add_trial(database)
        finish(database, trial_id, claim(database, trial_id), succeeded())
    kept, gone = add_training(database), trial_id.rpartition("-")[0]
    with database.write() as session:
        experiments.cancel_experiment(session, kept.id)
        experiments.cancel_experiment(session, gone)
    assert advance(database) == 2
    experiments.delete_experiment(database, gone)
    with database.write() as session:
        tallies.store(session, tallies.Stretch(gone, 0, 1), Counter())  # added up before it was deleted
    check(database)
    assert reaches_to(database, gone) == 0
    assert reaches_to(database, kept.id) == kept.next_number > 0
