from scenarios import add_search, add_training
from sqlalchemy import update

from paploss.controller.loop.driver import Driver
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.demand import count_wanted
from paploss.jobs.queue import TrialQueue


def wanted(database: Database) -> dict[int, int]:
    with database.read() as session:
        return dict(count_wanted(session))


def test_queued_and_running_trials_count_by_class_and_ended_ones_do_not(database: Database) -> None:
    training = add_training(database, gpus=2)
    assert wanted(database) == {2: 2}
    with database.write() as session:
        session.execute(
            update(Trial).where(Trial.experiment_id == training.id, Trial.number == 0).values(state="succeeded")
        )
    assert wanted(database) == {2: 1}


def test_a_search_wants_no_more_than_it_may_run(database: Database, redis_url: str) -> None:
    search = add_search(database, max_running_trials=3)
    with TrialQueue(redis_url) as queue:
        Driver(database, queue, Settings()).tick()
    assert wanted(database) == {0: 3}
    with database.write() as session:
        session.execute(update(Experiment).where(Experiment.id == search.id).values(state="paused"))
    assert wanted(database) == {}
