from concurrent.futures import ThreadPoolExecutor

import pytest
from scenarios import add_search, add_training, waits_for_a_lock
from sqlalchemy import delete, select
from stack import wait_until

from paploss.client.notifications import SubscriptionRequest
from paploss.client.projects import ProjectRequest
from paploss.controller.store import experiments
from paploss.controller.store.database import Database
from paploss.controller.store.documents import NOTICE
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.events import EventKind, record
from paploss.controller.store.notifications import subscriptions
from paploss.controller.store.projects import create_project
from paploss.controller.store.tables import Delivery, Experiment
from paploss.controller.store.visibility import within


def subscribe(database: Database, project: str | None = None, **changes: object) -> str:
    request = SubscriptionRequest.model_validate({"target": "https://example.org/hook"} | changes)
    with database.write() as session:
        return subscriptions.add_subscription(session, request, "ann", project).id


def deliveries(database: Database) -> list[tuple[str, str]]:
    """Subscription and occasion of each, in the order in which they were written."""
    with database.read() as session:
        rows = session.scalars(select(Delivery).order_by(Delivery.created_at, Delivery.subscription_id))
        return [(row.subscription_id, row.occasion) for row in rows]


def test_an_event_adds_deliveries_for_those_who_asked_for_it(database: Database) -> None:
    search, other = add_search(database), add_search(database)
    everything = subscribe(database)
    of_search = subscribe(database, experiment_id=search.id)
    subscribe(database, experiment_id=other.id)
    subscribe(database, occasions=["failed", "stalled"])
    with database.write() as session:
        experiments.cancel_experiment(session, search.id)
    assert sorted(deliveries(database)) == sorted([(everything, "ended"), (of_search, "ended")])
    with database.read() as session:
        notice = NOTICE.read(session.scalars(select(Delivery)).first().notice)  # type: ignore[union-attr]
    assert (notice.experiment_id, notice.state, notice.kind) == (search.id, "cancelled", "search")


def test_each_occasion_is_told(database: Database) -> None:
    told: dict[EventKind, str] = {
        "experiment_succeeded": "ended",
        "experiment_cancelled": "ended",
        "experiment_failed": "failed",
        "experiment_stalled": "stalled",
        "new_best": "new_best",
        "budget_spent": "budget_spent",
    }
    search, subscription = add_search(database), subscribe(database, occasions=sorted(set(told.values())))
    with database.write() as session:
        for kind in told:
            record(session, kind, "it happened", experiment_id=search.id)
    assert sorted(deliveries(database)) == sorted((subscription, occasion) for occasion in told.values())


def test_a_projects_subscription_is_told_of_no_other_project(database: Database) -> None:
    for name in ("lab", "elsewhere"):
        with database.write() as session:
            create_project(session, ProjectRequest(name=name))
    of_lab, _ = subscribe(database, "lab"), subscribe(database, "elsewhere")
    search = add_search(within(database, "lab"))
    of_search = subscribe(database, experiment_id=search.id)
    with database.write() as session:
        experiments.cancel_experiment(session, search.id)
    assert sorted(deliveries(database)) == sorted([(of_lab, "ended"), (of_search, "ended")])
    with within(database, "lab").read() as session:  # whoever may see the search sees who is told of it
        assert {each.id for each in subscriptions.list_subscriptions(session)} == {of_lab, of_search}


def test_deliveries_are_part_of_the_transaction_of_their_event(database: Database) -> None:
    search = add_search(database)
    subscribe(database)

    def cancel_and_die() -> None:
        with database.write() as session:
            experiments.cancel_experiment(session, search.id)
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        cancel_and_die()
    assert deliveries(database) == []
    with database.read() as session:
        found = experiments.find_experiment(session, search.id)
        assert found is not None
        assert found.state == "running"


def test_events_that_nobody_can_ask_for_add_nothing(database: Database) -> None:
    training = add_training(database)
    subscribe(database)
    with database.write() as session:
        record(session, "trial_succeeded", "reward 30.0", experiment_id=training.id)
        experiments.pause_experiment(session, training.id)
    assert deliveries(database) == []


def test_the_end_of_an_experiment_that_is_deleted_at_once_is_still_told(database: Database) -> None:
    search = add_search(database)
    everything = subscribe(database)
    of_search = subscribe(database, experiment_id=search.id)
    with database.write() as session:
        experiments.cancel_experiment(session, search.id)
    experiments.delete_experiment(database, search.id)
    assert deliveries(database) == [(everything, "ended")]
    with database.read() as session, pytest.raises(NotFoundError):
        subscriptions.get_subscription(session, of_search)


def test_a_subscription_to_what_is_not_there_is_refused(database: Database) -> None:
    with pytest.raises(NotFoundError, match="no experiment nothing"):
        subscribe(database, experiment_id="nothing")


@pytest.mark.databases("postgresql")
def test_a_subscription_to_what_is_deleted_at_this_moment_is_refused(database: Database) -> None:
    """On SQLite there is one writer at a time."""
    experiment_id = add_training(database).id
    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            session.execute(delete(Experiment).where(Experiment.id == experiment_id))
            asked = pool.submit(subscribe, database, experiment_id=experiment_id)
            wait_until(lambda: waits_for_a_lock(session), "the subscriber to wait for the deletion")
        with pytest.raises(NotFoundError, match=f"no experiment {experiment_id}"):
            asked.result()


def test_subscriptions_are_bounded_in_number(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST_SUBSCRIPTIONS", 2)
    subscribe(database)
    subscribe(database)
    with pytest.raises(ConflictError, match="2 subscriptions already"):
        subscribe(database)


def test_a_webhook_alone_has_a_secret_and_another_each_time(database: Database) -> None:
    ids = [subscribe(database), subscribe(database), subscribe(database, channel="slack")]
    with database.read() as session:
        secrets = [subscriptions.get_subscription(session, each).secret for each in ids]
    assert secrets[0] != secrets[1]
    assert secrets[2] is None


def test_nothing_that_happens_in_a_pause_is_told(database: Database) -> None:
    first, second = add_search(database), add_search(database)
    subscription = subscribe(database)
    with database.write() as session:
        subscriptions.pause_subscription(session, subscription)
        experiments.cancel_experiment(session, first.id)
        subscriptions.resume_subscription(session, subscription)
        experiments.cancel_experiment(session, second.id)
    with database.read() as session:
        told = [NOTICE.read(row.notice).experiment_id for row in session.scalars(select(Delivery))]
    assert told == [second.id]


def test_a_paused_subscription_is_not_tried(database: Database) -> None:
    subscription = subscribe(database)
    with database.write() as session:
        paused = subscriptions.pause_subscription(session, subscription).paused_at
        assert subscriptions.pause_subscription(session, subscription).paused_at == paused
    with database.write() as session, pytest.raises(ConflictError, match="is paused; resume it first"):
        subscriptions.try_subscription(session, subscription)
