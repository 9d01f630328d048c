import pytest
from scenarios import add_search, add_training, pass_term
from simulation import Platform, metrics
from sqlalchemy import select

from paploss.controller.loop import watch
from paploss.controller.store.tables import Event, Experiment
from paploss.jobs.spec import JobResult


@pytest.fixture(autouse=True)
def every_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0)


@pytest.fixture
def hasty(platform: Platform) -> Platform:
    """One for which everything that has not advanced since the last look stands still."""
    platform.settings = platform.settings.model_copy(update={"stalled_seconds": 1e-9})
    platform.driver = platform.new_driver()
    return platform


def change_leader(platform: Platform) -> None:
    pass_term(platform.database)
    platform.driver = platform.new_driver()


def messages(platform: Platform, experiment: Experiment, kind: str) -> list[str]:
    with platform.database.read() as session:
        query = select(Event.message).where(Event.experiment_id == experiment.id, Event.kind == kind)
        return list(session.scalars(query.order_by(Event.id)))


def reward(value: float) -> JobResult:
    return JobResult(outcome="succeeded", reward=value, metrics=metrics(value))


def test_a_new_best_is_told_once_whoever_leads(platform: Platform) -> None:
    search = add_search(platform.database, rounds=2, trials_per_round=4)
    platform.driver.tick()
    for value in (0.2, 0.1, 0.3, 0.4):
        platform.work(1, reward(value))
        platform.driver.tick()
        platform.driver.tick()
        change_leader(platform)
    assert messages(platform, search, "new_best") == [
        "new best: trial 2 with AP 30.0, after 20.0",
        "new best: trial 3 with AP 40.0, after 30.0",
    ]


def test_rewards_of_confirmations_are_no_new_best(platform: Platform) -> None:
    search = add_search(platform.database, rounds=1, trials_per_round=2, confirm={"candidates": 1, "seeds": 2})
    platform.driver.tick()
    platform.work(2, reward(0.2))
    platform.driver.tick()
    platform.work(1, reward(0.9))
    platform.driver.tick()
    assert platform.search(search.id).stage == "confirm"
    assert messages(platform, search, "new_best") == []


def test_a_standstill_is_told_once_and_so_is_its_end(hasty: Platform) -> None:
    training = add_training(hasty.database)
    for _ in range(4):
        hasty.driver.tick()
    change_leader(hasty)
    for _ in range(3):
        hasty.driver.tick()
    (message,) = messages(hasty, training, "experiment_stalled")
    assert "2 wait for a worker, 0 run" in message
    assert messages(hasty, training, "experiment_advancing") == []
    hasty.work(1)
    hasty.driver.tick()
    hasty.driver.tick()
    assert len(messages(hasty, training, "experiment_advancing")) == 1
    assert len(messages(hasty, training, "experiment_stalled")) == 2  # the other trial waits again


def test_a_training_that_advances_is_no_standstill_and_one_that_hangs_is(hasty: Platform) -> None:
    training = add_training(hasty.database, losses=[{"label": "start", "preset": "identity"}])
    hasty.driver.tick()
    lease = hasty.start()
    assert lease is not None
    for aps in ([0.1], [0.1, 0.2], [0.1, 0.2, 0.3]):
        hasty.driver.tick()
        hasty.renew(lease, *aps)
    assert messages(hasty, training, "experiment_stalled") == []
    hasty.driver.tick()
    for _ in range(2):
        hasty.renew(lease, 0.1, 0.2, 0.3)
        hasty.driver.tick()
    (message,) = messages(hasty, training, "experiment_stalled")
    assert "0 wait for a worker, 1 run" in message


def test_what_is_paused_does_not_stall(hasty: Platform) -> None:
    training = add_training(hasty.database)
    hasty.driver.tick()
    with hasty.database.write() as session:
        session.get_one(Experiment, training.id).state = "paused"
    for _ in range(3):
        hasty.driver.tick()
    with hasty.database.write() as session:
        session.get_one(Experiment, training.id).state = "running"
    hasty.driver.tick()  # its pause was no standstill either
    assert messages(hasty, training, "experiment_stalled") == []


def test_what_a_leader_saw_in_an_earlier_term_is_no_standstill(hasty: Platform) -> None:
    training = add_training(hasty.database)
    first = hasty.driver
    first.tick()
    change_leader(hasty)
    hasty.driver.tick()
    assert not first.tick()
    pass_term(hasty.database)
    assert first.tick()
    assert messages(hasty, training, "experiment_stalled") == []
