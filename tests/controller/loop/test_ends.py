"""Experiments that end before all is trained: budgets spent, paused, cancelled."""

import pytest
from scenarios import add_search, add_training, pass_grace, succeeded
from simulation import Platform
from sqlalchemy import select, update

from paploss.client.projects import ProjectRequest
from paploss.controller.loop.driver import Driver
from paploss.controller.store import experiments
from paploss.controller.store.database import now
from paploss.controller.store.projects import create_project
from paploss.controller.store.tables import Attempt, Event, Trial
from paploss.controller.store.trials.spending import read_spending
from paploss.controller.store.visibility import within
from paploss.jobs.spec import JobResult

# Above the store statements are the same on both; those that no other test asks are asked on both here too.
pytestmark = pytest.mark.databases("sqlite")

FAILED = JobResult(outcome="failed", error_kind="user", error="no such file")


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.parametrize("mode", ["round", "stream"])
@pytest.mark.parametrize("result", [None, FAILED], ids=["succeeded", "one failed"])
def test_a_search_whose_hours_are_spent_confirms_its_best(
    platform: Platform, mode: str, result: JobResult | None
) -> None:
    """4 trials of an hour each in the first round; of a budget of 6.5 hours, two more fit."""
    search = add_search(platform.database, mode=mode, rounds=10, trials_per_round=4, worker_hours=6.5)
    for count, proposed in ((4, 6), (2, 6)):
        platform.driver.tick()
        for number in range(count):
            lease = platform.start()
            assert lease is not None
            platform.finish(lease, result if number == 0 else None)
        ended = [trial.id for trial in platform.trials(search, kind="proxy") if trial.finished_at is not None]
        platform.set_hours(ended, 1.0)
        platform.driver.tick()
        assert len(platform.trials(search, kind="proxy")) == proposed
    found = platform.run(search)
    assert found.state == "succeeded"
    assert len(platform.trials(search, kind="proxy")) == 6
    assert platform.events(search).count("budget_spent") == 1


def test_a_spent_budget_ends_with_the_rewards_that_there_are(platform: Platform) -> None:
    search = add_search(platform.database, rounds=10, trials_per_round=4, worker_hours=2)
    platform.driver.tick()
    for _ in range(4):
        lease = platform.start()
        assert lease is not None
        platform.finish(lease)
    platform.set_hours([trial.id for trial in platform.trials(search)], 1.0)
    found = platform.run(search)
    assert found.state == "succeeded"
    assert (found.stage, found.round) == ("confirm", 1)
    assert len(platform.trials(search, kind="proxy")) == 4
    assert found.planned == len(platform.trials(search))
    assert platform.events(search).count("budget_spent") == 1


def test_a_night_without_any_process_spends_no_hours(platform: Platform) -> None:
    """All were killed while a trial ran; its lease ended nine hours before the next controller noticed."""
    search = add_search(platform.database, rounds=2, trials_per_round=4, worker_hours=8)
    platform.driver.tick()
    lease = platform.start()
    assert lease is not None
    with platform.database.write() as session:
        session.execute(update(Attempt).values(claimed_at=now() - 10 * 3600))
        session.execute(update(Trial).where(Trial.id == lease.trial_id).values(lease_until=now() - 9 * 3600))
    pass_grace(platform.database)
    found = platform.run(search)
    assert (found.state, found.round) == ("succeeded", 2)
    with platform.database.read() as session:
        assert read_spending(session, search.id, "proxy").seconds == pytest.approx(3600, abs=60)


@pytest.mark.databases("sqlite", "postgresql")
def test_searches_whose_project_has_used_its_hours_confirm_their_best(platform: Platform) -> None:
    """Of 10.5 hours, the first rounds of both searches take 8, and two more trials fit, of whichever search."""
    with platform.database.write() as session:
        create_project(session, ProjectRequest(name="lab", gpu_hours=10.5))
    lab = within(platform.database, "lab")
    searches = [add_search(lab, rounds=10, trials_per_round=4) for _ in range(2)]
    for _ in range(2):
        platform.driver.tick()
        while (lease := platform.start()) is not None:
            platform.finish(lease)
        ended = [trial.id for each in searches for trial in platform.trials(each, kind="proxy") if trial.finished_at]
        platform.set_hours(ended, 1.0)
    found = [platform.run(search) for search in searches]
    assert [each.state for each in found] == ["succeeded", "succeeded"]
    assert sum(len(platform.trials(search, kind="proxy")) for search in searches) == 10
    for search in searches:
        assert platform.events(search).count("budget_spent") == 1
    with platform.database.read() as session:
        told = session.scalars(select(Event.message).where(Event.kind == "budget_spent")).all()
    assert set(told) == {
        "another trial would go beyond the GPU-hours of the project 'lab' (10.5): no more are proposed"
    }


def test_long_trainings_of_its_project_do_not_end_a_search_of_short_ones(platform: Platform) -> None:
    """Of 100 hours two trainings took 40, and four wait; a hundredth of an hour is what each proxy takes."""
    with platform.database.write() as session:
        create_project(session, ProjectRequest(name="lab", gpu_hours=100))
    lab = within(platform.database, "lab")
    training = add_training(lab)
    assert platform.run(training).state == "succeeded"
    platform.set_hours([trial.id for trial in platform.trials(training)], 20.0)
    search = add_search(lab, rounds=2, trials_per_round=4)
    add_training(lab, seeds=[0, 1])
    while platform.search(search.id).stage == "rounds":
        platform.driver.tick()
        platform.work(1)
        ended = [trial.id for trial in platform.trials(search) if trial.finished_at is not None]
        platform.set_hours(ended, 0.01)
    assert "budget_spent" not in platform.events(search)
    assert len(platform.trials(search, kind="proxy")) == 2 * 4


def test_a_trial_of_two_gpus_needs_two_gpu_hours_an_hour(platform: Platform) -> None:
    """Of 11, the first round takes 8, and one more trial fits."""
    with platform.database.write() as session:
        create_project(session, ProjectRequest(name="lab", gpu_hours=11))
    search = add_search(within(platform.database, "lab"), gpus=2, rounds=10, trials_per_round=4)
    platform.driver.tick()
    while (lease := platform.start(gpus=2)) is not None:
        platform.finish(lease)
    platform.set_hours([trial.id for trial in platform.trials(search)], 1.0)
    platform.driver.tick()
    assert len(platform.trials(search)) == 5


@pytest.mark.parametrize(("hours", "proxies"), [(0.5, 0), (1.0, 1)])
def test_a_search_whose_budget_is_less_than_a_trial_fails_instead_of_racing_what_it_did_not_search(
    platform: Platform, hours: float, proxies: int
) -> None:
    """The pilot says that a training takes an hour."""
    rivals = ["published", "handmade_sigmoid"]
    search = add_search(platform.database, worker_hours=hours, pilot="tell", confirm={"rivals": rivals})
    while (found := platform.search(search.id)).state == "running" and found.stage != "confirm":
        platform.driver.tick()
        platform.work(result=succeeded(0.2))
        platform.set_hours([trial.id for trial in platform.trials(search)], 1.0)
    assert len(platform.trials(search, kind="proxy")) == proxies
    assert found.state == ("running" if proxies else "failed")
    assert proxies or found.reason.startswith("its budget was spent before a trial of its rounds had a reward")


def test_a_paused_search_does_not_advance_and_goes_on_where_it_was(platform: Platform) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    lease = platform.start()
    assert lease is not None
    with platform.database.write() as session:
        experiments.pause_experiment(session, search.id)
    assert platform.renew(lease) == "pause"
    assert platform.work() == 0
    platform.driver.tick()
    assert platform.take() is None
    platform.finish(lease)
    with platform.database.write() as session:
        experiments.resume_experiment(session, search.id)
    assert platform.run(search).state == "succeeded"
    assert len(platform.trials(search, kind="proxy")) == 12


def test_a_search_that_is_paused_while_its_next_step_is_prepared_does_not_take_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    platform.work()

    def pause(*_: object) -> None:
        with platform.database.write() as session:
            experiments.pause_experiment(session, search.id)

    monkeypatch.setattr(Driver, "_keep", pause)  # between the look and the lock
    platform.driver.tick()
    found = platform.search(search.id)
    assert (found.state, found.round, len(platform.trials(search))) == ("paused", 0, 4)


def test_a_cancelled_search_leaves_nothing_open(platform: Platform) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    lease = platform.start()
    assert lease is not None
    with platform.database.write() as session:
        experiments.cancel_experiment(session, search.id)
    platform.driver.tick()
    assert platform.renew(lease) == "cancel"
    assert platform.work() == 0
    assert {trial.state for trial in platform.trials(search)} == {"cancelled"}
