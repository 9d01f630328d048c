"""Trials that fail: replacements, their bounds, and mistakes that are the request's."""

import uuid

import pytest
from scenarios import add_search, add_training
from simulation import Platform
from sqlalchemy import update

from paploss.controller.store.tables import Trial
from paploss.jobs.spec import JobResult

# Above the store statements are the same on both; those that no other test asks are asked on both here too.
pytestmark = pytest.mark.databases("sqlite")

FAILED = JobResult(outcome="failed", error_kind="user", error="no such file")


def work_with_distinct_failures(platform: Platform) -> None:
    """Every waiting trial fails for a reason of its own; the same one several times would be the request's mistake."""
    while platform.work(1, FAILED.model_copy(update={"error": f"no such file {uuid.uuid4()}"})):
        pass


def test_failed_trials_leave_the_mean(platform: Platform) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    platform.work(2, FAILED)
    platform.work()
    platform.driver.tick()
    first = platform.rounds(search)[0]
    rewards = [trial.reward for trial in platform.trials(search, round=0) if trial.reward is not None]
    assert (first.rewards, first.proposed) == (2, 4)
    assert first.mean_reward == pytest.approx(sum(rewards) / 2)
    assert first.best_reward == max(rewards)
    assert {trial.consumed_round for trial in platform.trials(search, round=0)} == {0}


def test_a_round_with_fewer_than_two_rewards_gets_replacements_under_new_indices(platform: Platform) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    platform.work(3, FAILED)
    platform.work(1)
    platform.driver.tick()
    trials = platform.trials(search, round=0)
    assert [trial.index for trial in trials] == list(range(7))
    assert [trial.state for trial in trials] == ["failed"] * 3 + ["succeeded"] + ["queued"] * 3
    assert "trials_replaced" in platform.events(search)
    platform.work()
    platform.driver.tick()
    assert platform.rounds(search)[0].rewards == 4


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.parametrize("mode", ["round", "stream"])
def test_a_search_whose_trials_all_fail_ends_with_the_reason(platform: Platform, mode: str) -> None:
    search = add_search(platform.database, mode=mode, budgets={"max_failed_trials": 5})
    for _ in range(20):
        platform.driver.tick()
        if platform.search(search.id).state == "failed":
            break
        work_with_distinct_failures(platform)
    found = platform.search(search.id)
    assert found.state == "failed"
    assert "no such file" in found.reason
    assert "max_failed_trials" in found.reason
    assert not platform.trials(search, state="queued")


def test_one_failure_too_many_is_told_as_one(platform: Platform) -> None:
    search = add_search(platform.database, budgets={"max_failed_trials": 0, "max_failed_attempts": 1})
    platform.driver.tick()
    platform.work(1, FAILED)
    platform.driver.tick()
    assert platform.search(search.id).reason.startswith("1 trial failed, more than max_failed_trials allows; ")


def test_replacements_are_bounded(platform: Platform) -> None:
    search = add_search(platform.database, budgets={"max_failed_trials": 1000})
    for _ in range(20):
        platform.driver.tick()
        work_with_distinct_failures(platform)
    found = platform.search(search.id)
    assert found.state == "failed"
    assert "without a reward" in found.reason
    assert len(platform.trials(search)) == 3 * 4


def test_a_search_whose_candidates_cannot_be_confirmed_fails(platform: Platform) -> None:
    search = add_search(platform.database, rounds=1, confirm={"candidates": 1, "seeds": 2})
    platform.driver.tick()
    platform.work()
    platform.driver.tick()
    platform.work(2, FAILED)
    platform.work()
    platform.driver.tick()
    assert platform.search(search.id).state == "failed"
    assert "could be confirmed" in platform.search(search.id).reason


def test_a_training_ends_when_all_its_trials_have(platform: Platform) -> None:
    search = add_training(platform.database, seeds=[1, 2])
    assert platform.run(search).state == "succeeded"
    jobs = platform.trials(search)
    assert [(job.label, job.seed) for job in jobs] == [("published", 1), ("start", 1), ("published", 2), ("start", 2)]


def test_a_training_without_any_result_fails(platform: Platform) -> None:
    search = add_training(platform.database)
    platform.driver.tick()
    platform.work(result=FAILED)
    platform.driver.tick()
    assert platform.search(search.id).state == "failed"


def test_the_same_mistake_of_two_trials_ends_the_search_with_its_sentence(platform: Platform) -> None:
    search = add_search(platform.database, trials_per_round=6, budgets={"max_failed_trials": 100})
    platform.driver.tick()
    platform.work(1, FAILED)
    platform.driver.tick()
    assert platform.search(search.id).state == "running"
    platform.work(1, FAILED)
    platform.driver.tick()
    found = platform.search(search.id)
    assert (found.state, found.reason) == ("failed", "no such file")
    assert not platform.trials(search, state="queued")


def test_a_mistake_that_other_trials_do_not_share_does_not_end_the_search(platform: Platform) -> None:
    search = add_search(platform.database, trials_per_round=6)
    platform.driver.tick()
    platform.work(1)
    platform.work(3, FAILED)
    platform.driver.tick()
    assert platform.search(search.id).state == "running"


@pytest.mark.databases("sqlite", "postgresql")
def test_a_mistake_of_one_loss_does_not_end_the_training_of_another(platform: Platform) -> None:
    training = add_training(platform.database, seeds=[0, 1, 2])
    with platform.database.write() as session:
        of_one = update(Trial).where(Trial.experiment_id == training.id, Trial.label == "start", Trial.seed < 2)
        session.execute(of_one.values(state="failed", error_kind="user", error="no such file"))
    platform.driver.tick()
    assert platform.search(training.id).state == "running"
    with platform.database.write() as session:
        of_other = update(Trial).where(Trial.experiment_id == training.id, Trial.label != "start", Trial.seed < 1)
        session.execute(of_other.values(state="failed", error_kind="user", error="no such file"))
    platform.driver.tick()
    assert (platform.search(training.id).state, platform.search(training.id).reason) == ("failed", "no such file")
