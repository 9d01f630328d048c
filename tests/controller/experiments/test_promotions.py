"""Searches with lengths: the best short trials are promoted, each once, whatever breaks."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from scenarios import add_search, expire, pass_term
from simulation import Platform
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from paploss.client.specs import SearchSpec
from paploss.controller.experiments import rounds
from paploss.controller.experiments.confirmation import OUTCOME
from paploss.controller.experiments.kinds import KINDS
from paploss.controller.experiments.promotions import find_due, find_rungs, make_promotions
from paploss.controller.store.documents import SPEC
from paploss.controller.store.reading.lists import best_trial
from paploss.controller.store.retention import find_removable_files
from paploss.controller.store.rounds import find_version
from paploss.controller.store.tables import Experiment, Trial
from paploss.jobs.ids import number_of
from paploss.jobs.spec import JobResult

# Above the store statements are the same on both; those that no other test asks are asked on both here too.
pytestmark = pytest.mark.databases("sqlite")

LENGTHS = {"fractions": [0.25, 0.5, 1.0], "keep": 3}
REQUEST: dict[str, Any] = {
    "algorithm": "random",
    "mode": "stream",
    "rounds": 5,
    "trials_per_round": 4,
    "lengths": LENGTHS,
    "confirm": {"candidates": 2, "seeds": 1},
}
COUNTS = {0.25: 20, 0.5: 6, 1.0: 2}
DIVERGED = JobResult(outcome="succeeded", reward=0.0, diverged=True)


def add(platform: Platform, **changes: Any) -> Experiment:
    return add_search(platform.database, **REQUEST | changes)


def shorter_of(trial: Trial) -> int | None:
    """The number of the trial that it continues."""
    return None if trial.derived_from is None else number_of(trial.derived_from)


def check_promotions(trials: list[Trial]) -> None:
    """Each was among the best of its length when it was promoted, and is that training, to a greater length."""
    by_id = {trial.id: trial for trial in trials}
    promoted = [trial for trial in trials if trial.derived_from is not None]
    assert len({trial.derived_from for trial in promoted}) == len(promoted)
    for trial in promoted:
        shorter = by_id[trial.derived_from or ""]
        fractions = LENGTHS["fractions"]
        assert isinstance(fractions, list)
        assert fractions.index(trial.length) == fractions.index(shorter.length) + 1
        for name in ("theta", "loss", "seed", "learning_rate_factor", "experiment_id", "kind"):
            assert getattr(trial, name) == getattr(shorter, name), name
        assert shorter.state == "succeeded"
        assert not shorter.diverged
        then = [
            one.reward or 0
            for one in trials
            if one.length == shorter.length and one.state == "succeeded" and (one.finished_at or 0) <= trial.created_at
        ]
        assert sum(reward > (shorter.reward or 0) for reward in then) < len(then) // LENGTHS["keep"]


@pytest.mark.parametrize("algorithm", ["random", "guided"])
def test_a_search_with_lengths_runs_to_its_best_loss(platform: Platform, algorithm: str) -> None:
    search = add(platform, algorithm=algorithm)
    found = platform.run(search)
    assert found.state == "succeeded"
    proxies = platform.trials(search, kind="proxy")
    assert Counter(trial.length for trial in proxies) == COUNTS
    assert all(trial.consumed_round is not None for trial in proxies)
    check_promotions(proxies)
    whole = [trial for trial in proxies if trial.length == 1]
    report = OUTCOME.read(found.best)
    first, second = sorted(whole, key=lambda trial: -(trial.reward or 0))[:2]
    other = second if algorithm == "random" else first  # random's best guess is the first itself
    assert [one.label for one in report.candidates] == ["mean", f"trial {other.number}"]
    assert (
        found.planned
        == len(platform.trials(search))
        == sum(COUNTS.values()) + len(platform.trials(search, kind="confirm"))
    )
    assert all(trial.length == 1 for trial in platform.trials(search, kind="confirm"))
    with platform.database.read() as session:
        shown = best_trial(session, search.id)
    assert shown is not None
    assert shown.id == first.id


def test_what_is_promoted_goes_out_before_more_short_trials(platform: Platform) -> None:
    search = add(platform)
    platform.driver.tick()
    first = platform.trials(search)
    assert {trial.length for trial in first} == {0.25}
    platform.work(3)
    platform.driver.tick()
    longer = platform.trials(search, length=0.5)
    assert len(longer) == 1
    ended = platform.trials(search, state="succeeded")
    assert longer[0].derived_from == max(ended, key=lambda trial: trial.reward or 0).id
    assert longer[0].number == len(first)
    assert len(platform.trials(search, length=0.25)) > len(first)


def test_of_equals_the_earlier_is_promoted(platform: Platform) -> None:
    search = add(platform)
    platform.driver.tick()
    platform.work(3, JobResult(outcome="succeeded", reward=0.25))
    platform.driver.tick()
    assert [shorter_of(trial) for trial in platform.trials(search, length=0.5)] == [0]


def test_no_more_are_promoted_at_once_than_asked_for(platform: Platform) -> None:
    """What one action adds is bounded, however many are due."""
    search = add(platform, trials_per_round=8)
    spec, plan = SPEC.read(search.spec), KINDS["search"].plan(SPEC.read(search.spec), "proxy")
    assert isinstance(spec, SearchSpec)
    platform.driver.tick()
    platform.work(6)
    ended = sorted(platform.trials(search, state="succeeded"), key=lambda trial: -(trial.reward or 0))
    with platform.database.read() as session:
        version = find_version(session, search.id, 0)
        assert version is not None
        assert find_due(spec, find_rungs(session, search, spec)) == {0.25: 2}
        for count in (1, 2):
            made = make_promotions(session, search, spec, plan, version=version, count=count)
            assert [trial.derived_from for trial in made] == [trial.id for trial in ended[:count]]
            assert [trial.index for trial in made] == [8 + place for place in range(count)]


def test_the_job_says_how_far_it_trains_and_what_it_continues(platform: Platform) -> None:
    search = add(platform)
    platform.driver.tick()
    lease = platform.start()
    assert lease is not None
    assert (lease.job.length, lease.job.continues, lease.job.prune) == (0.25, None, ())
    platform.finish(lease)
    platform.work(3)
    platform.driver.tick()
    (longer,) = platform.trials(search, length=0.5)
    job = platform.claim(longer.id).job
    assert (job.length, job.continues) == (0.5, longer.derived_from)


@pytest.mark.databases("sqlite", "postgresql")
def test_it_goes_on_alike_wherever_its_controller_was_killed(platform: Platform) -> None:
    """Each tick by a new process: some between the results of a length and what follows from them."""
    rows: list[Any] = []
    for killed in (False, True):
        search = add(platform, algorithm="guided", rounds=3)
        platform.run_to_the_end(search.id, most_ticks=80, killed=killed)
        trials = platform.trials(search)
        rows.append([(t.round, t.index, t.seed, t.theta, t.length, shorter_of(t)) for t in trials])
    assert Counter(row[4] for row in rows[0] if row[0] is not None) == {0.25: 12, 0.5: 4, 1.0: 1}
    assert rows[0] == rows[1]


@pytest.mark.databases("sqlite", "postgresql")
def test_a_tick_that_dies_with_its_promotions_leaves_none_and_the_next_makes_the_same(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = add(platform)
    platform.driver.tick()
    platform.work(3)
    stored = rounds.add_trials

    def store_and_die(*given: Any) -> None:
        stored(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(rounds, "add_trials", store_and_die)
        with pytest.raises(KeyboardInterrupt):
            platform.driver.tick()
    assert platform.trials(search, length=0.5) == []
    pass_term(platform.database)
    platform.driver = platform.new_driver()
    platform.driver.tick()
    ended = platform.trials(search, state="succeeded")
    best = max(ended, key=lambda trial: trial.reward or 0)
    assert [shorter_of(trial) for trial in platform.trials(search, length=0.5)] == [best.number]


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.parametrize("seed", range(2))
def test_in_whatever_order_trials_end_and_fail_the_best_are_promoted_once(platform: Platform, seed: int) -> None:
    draw = random.Random(seed)
    search = add(platform, budgets={"max_failed_attempts": 1, "max_failed_trials": 100})
    leases: list[Any] = []
    for _ in range(2000):
        platform.driver.tick()
        if platform.search(search.id).stage != "rounds":
            break
        while len(leases) < 6 and (lease := platform.start()) is not None:
            leases.append(lease)
        lease = leases.pop(draw.randrange(len(leases)))
        chance = draw.random()
        if chance < 0.1:
            platform.finish(lease, JobResult(outcome="failed", error_kind="crash", error=f"broke {chance}"))
        elif chance < 0.2:
            platform.finish(lease, DIVERGED)
        else:
            platform.finish(lease, JobResult(outcome="succeeded", reward=round(draw.random(), 2)))
    proxies = platform.trials(search, kind="proxy")
    check_promotions(proxies)
    ended = Counter(trial.length for trial in proxies if trial.state == "succeeded")
    promoted = Counter(trial.length for trial in proxies if trial.derived_from is not None)
    assert (promoted[0.5], promoted[1.0]) == (ended[0.25] // 3, ended[0.5] // 3)
    assert ended[0.25] == 5 * 4


@pytest.mark.databases("sqlite", "postgresql")
def test_a_trial_that_was_promoted_and_is_preempted_goes_on_as_itself(platform: Platform) -> None:
    search = add(platform)
    platform.driver.tick()
    platform.work(3)
    platform.driver.tick()
    (longer,) = platform.trials(search, length=0.5)
    lease = platform.claim(longer.id)
    platform.renew(lease)
    assert expire(platform.database, longer.id) == "queued"
    again = platform.claim(longer.id, "w2")
    assert again.job == lease.job
    assert again.attempt == 2
    platform.finish(again)
    for _ in range(2):
        platform.driver.tick()
    assert len(platform.trials(search, derived_from=longer.derived_from)) == 1


@pytest.mark.databases("sqlite", "postgresql")
def test_a_trial_cannot_be_promoted_twice(platform: Platform) -> None:
    search = add(platform)
    platform.driver.tick()
    platform.work(3)
    platform.driver.tick()
    (longer,) = platform.trials(search, length=0.5)
    same = update(Trial).where(Trial.id == f"{search.id}-000000").values(derived_from=longer.derived_from)
    with platform.database.read() as session, pytest.raises(IntegrityError):
        session.execute(same)


def test_a_diverged_trial_is_never_promoted(platform: Platform) -> None:
    search = add(platform)
    for _ in range(200):
        platform.driver.tick()
        if platform.search(search.id).state == "succeeded":
            break
        platform.work(1, DIVERGED)
    assert Counter(trial.length for trial in platform.trials(search, kind="proxy")) == {0.25: 20}
    assert platform.search(search.id).state == "succeeded"


@pytest.mark.databases("sqlite", "postgresql")
def test_a_budget_that_is_spent_ends_promotions_too(platform: Platform) -> None:
    search = add(platform, worker_hours=1e-9)
    for _ in range(200):
        platform.driver.tick()
        if platform.search(search.id).stage != "rounds":
            break
        platform.work(1)
    proposed = len(platform.trials(search, kind="proxy"))
    assert platform.search(search.id).stage == "closing"
    found = platform.run(search)
    assert found.state == "succeeded"
    assert {trial.length for trial in platform.trials(search, kind="proxy")} == {0.25}
    assert len(platform.trials(search, kind="proxy")) == proposed


def test_rounds_tell_the_mean_of_whole_trainings_alone(platform: Platform) -> None:
    search = add(platform)
    platform.run(search)
    proxies = platform.trials(search, kind="proxy")
    for row in platform.rounds(search):
        if row.closed_at is None:
            continue
        whole = [t.reward for t in proxies if t.consumed_round == row.number and t.length == 1]
        assert row.mean_reward == (pytest.approx(np.mean(whole)) if whole else None)
        assert row.rewards == len([t for t in proxies if t.consumed_round == row.number])


@pytest.mark.databases("sqlite", "postgresql")
def test_checkpoints_of_short_trials_stay_while_the_search_is_in_its_rounds_and_not_longer(platform: Platform) -> None:
    search = add(platform)
    platform.driver.tick()
    platform.work(3)
    short = [trial.id for trial in platform.trials(search, state="succeeded")]
    its_row = update(Experiment).where(Experiment.id == search.id)
    with platform.database.write() as session:
        assert find_removable_files(session, short, days=0) == []
        session.execute(its_row.values(stage="closing"))  # promotions may still run
        assert find_removable_files(session, short, days=0) == []
        session.execute(its_row.values(state="cancelled"))
        assert find_removable_files(session, short, days=7) == short
        session.execute(its_row.values(stage="rounds", state="running"))
    platform.run(search)
    every = [trial.id for trial in platform.trials(search, kind="proxy")]
    with platform.database.read() as session:
        kept = set(every) - set(find_removable_files(session, every, days=7))
    assert kept == {trial.id for trial in platform.trials(search, kind="proxy", length=1.0)}
