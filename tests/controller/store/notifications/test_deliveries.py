from collections.abc import Sequence

import pytest
from sqlalchemy import event, select, update

from paploss.client.notifications import SubscriptionRequest
from paploss.controller.store import retention
from paploss.controller.store.database import Database, now
from paploss.controller.store.notifications import subscriptions
from paploss.controller.store.notifications.deliveries import (
    MOST_ATTEMPTS,
    DeliveryAttempt,
    begin_attempts,
    count_deliveries,
    end_attempt,
    is_due,
    last_deliveries,
)
from paploss.controller.store.tables import Delivery


def add_delivery(database: Database, subscription_id: str | None = None) -> tuple[str, str]:
    """Ids of a delivery and of its subscription, a new one unless it is given."""
    with database.write() as session:
        if subscription_id is None:
            request = SubscriptionRequest(target="https://example.org/hook")
            subscription_id = subscriptions.add_subscription(session, request, "ann").id
        return subscriptions.try_subscription(session, subscription_id).id, subscription_id


def begin(database: Database, busy: Sequence[str] = (), count: int = 16) -> Sequence[DeliveryAttempt]:
    with database.write() as session:
        return begin_attempts(session, busy, count)


def end(database: Database, attempt: DeliveryAttempt, error: str | None = None) -> str:
    with database.write() as session:
        return end_attempt(session, attempt, error)


def pass_time(database: Database) -> None:
    with database.write() as session:
        session.execute(update(Delivery).values(due_at=now() - 1))


def test_an_attempt_is_begun_once(database: Database) -> None:
    delivery_id, _ = add_delivery(database)
    (attempt,) = begin(database)
    assert (attempt.delivery_id, attempt.number) == (delivery_id, 1)
    assert begin(database) == []
    with database.read() as session:
        assert not is_due(session, ())


def test_an_attempt_whose_process_died_is_made_again_under_the_same_id(database: Database) -> None:
    delivery_id, _ = add_delivery(database)
    (lost,) = begin(database)
    pass_time(database)
    (again,) = begin(database)
    assert (again.delivery_id, again.number) == (delivery_id, 2)
    assert end(database, again) == "delivered"
    end(database, lost, "too late to count")
    assert begin(database) == []
    with database.read() as session:
        assert count_deliveries(session) == {"delivered": 1}


def test_pauses_grow_and_the_last_failure_gives_up(database: Database) -> None:
    add_delivery(database)
    pauses, state = [], "waiting"
    for number in range(1, MOST_ATTEMPTS + 1):
        assert state == "waiting"
        (attempt,) = begin(database)
        assert attempt.number == number
        with database.read() as session:
            delivery = session.scalars(select(Delivery)).one()
            pauses.append(delivery.due_at - delivery.created_at)
        state = end(database, attempt, "status 500")
        pass_time(database)
    assert state == "given_up"
    assert pauses == sorted(pauses)
    assert pauses[-1] > 3600
    assert begin(database) == []
    with database.read() as session:
        assert session.scalars(select(Delivery)).one().error == "status 500"


def test_a_last_attempt_whose_process_died_is_repeated_and_then_given_up(database: Database) -> None:
    add_delivery(database)
    with database.write() as session:
        session.execute(update(Delivery).values(attempts=MOST_ATTEMPTS))
    (attempt,) = begin(database)
    assert end(database, attempt, "status 500") == "given_up"


@pytest.mark.databases("postgresql")
def test_of_two_processes_that_see_a_delivery_one_makes_the_attempt(database: Database) -> None:
    """On SQLite there is one writer at a time."""
    add_delivery(database)
    first: list[DeliveryAttempt] = []
    asked: list[str] = []

    def overtake(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)
        if statement.startswith("UPDATE") and not any(each.startswith("UPDATE") for each in asked[:-1]):
            first.extend(begin(database))

    event.listen(database.engine, "before_cursor_execute", overtake)
    assert begin(database) == []
    assert [attempt.number for attempt in first] == [1]


def test_a_subscriber_is_sent_one_thing_at_a_time_and_a_busy_one_none(database: Database) -> None:
    _, first = add_delivery(database)
    add_delivery(database, first)
    _, second = add_delivery(database)
    assert {attempt.subscription_id for attempt in begin(database, busy=[second])} == {first}
    assert {attempt.subscription_id for attempt in begin(database, count=1, busy=[first])} == {second}
    assert [attempt.subscription_id for attempt in begin(database)] == [first]


@pytest.mark.databases("sqlite")
def test_what_a_newer_version_wrote_waits_and_holds_up_nothing_else(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable, subscription = add_delivery(database)
    with database.write() as session:
        session.execute(update(Delivery).values(notice={"occasion": "of a newer version", "at": 0.0, "message": ""}))
    others = {add_delivery(database)[0], add_delivery(database, subscription)[0]}
    begun = [*begin(database), *begin(database)]
    assert {attempt.delivery_id for attempt in begun} == others
    assert f"the delivery {unreadable} waits: " in caplog.text
    with database.read() as session:
        waiting = session.get_one(Delivery, unreadable)
        assert (waiting.state, waiting.attempts) == ("waiting", 0)
        assert not is_due(session, ())


def test_what_is_deleted_is_not_sent(database: Database) -> None:
    _, subscription = add_delivery(database)
    (attempt,) = begin(database)
    pass_time(database)
    with database.write() as session:
        subscriptions.delete_subscription(session, subscription)
    assert begin(database) == []
    end(database, attempt)
    with database.read() as session:
        assert count_deliveries(session) == {}


def test_retention_clears_what_has_ended_alone(database: Database) -> None:
    _, subscription = add_delivery(database)
    (attempt,) = begin(database)
    end(database, attempt)
    waiting, _ = add_delivery(database, subscription)
    with database.write() as session:
        session.execute(update(Delivery).values(created_at=0.0))
        session.execute(update(Delivery).where(Delivery.state == "delivered").values(ended_at=now() - 3 * 86_400))
    with database.write() as session:
        retention.clear_platform(session, days=2)
    with database.read() as session:
        assert session.scalars(select(Delivery.id)).all() == [waiting]


def test_what_waits_for_a_paused_subscription_is_sent_once_it_is_resumed(database: Database) -> None:
    waiting, subscription = add_delivery(database)
    with database.write() as session:
        subscriptions.pause_subscription(session, subscription)
    assert begin(database) == []
    with database.write() as session:
        subscriptions.resume_subscription(session, subscription)
    assert [attempt.delivery_id for attempt in begin(database)] == [waiting]


def test_the_last_delivery_of_each_is_its_newest(database: Database) -> None:
    _, first = add_delivery(database)
    newest, _ = add_delivery(database, first)
    with database.write() as session:
        session.execute(update(Delivery).where(Delivery.id != newest).values(created_at=0.0))
    only, second = add_delivery(database)
    with database.read() as session:
        found = {subscription: delivery.id for subscription, delivery in last_deliveries(session).items()}
    assert found == {first: newest, second: only}
