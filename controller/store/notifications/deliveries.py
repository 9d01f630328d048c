"""The life of a delivery: waiting -> delivered, given_up.

An attempt is counted, and the time of the next one set, in a transaction of its own before anything is sent. So two
processes never make the same attempt, and where one dies before it has stored the outcome, the delivery is attempted
again under the same id: it arrives at least once, and a subscriber can tell a repetition.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from paploss.client.notifications import Channel, DeliveryState
from paploss.controller.store.database import now, read_clock, table_of
from paploss.controller.store.documents import NOTICE, Notice
from paploss.controller.store.notifications.subscriptions import get_subscription
from paploss.controller.store.tables import Delivery, Subscription
from paploss.jobs.documents import UnreadableError

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = (15.0, 60.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
"""Pauses after the first, second, ... attempt. The attempt after the last pause is the last: 18 hours in all."""
MOST_ATTEMPTS: Final = len(RETRY_SECONDS) + 1

UNREADABLE_SECONDS: Final = 300.0
"""Until a notice that this version cannot read is looked at again, perhaps by another version."""

_LOG_LENGTH = 200
"""Deliveries of a subscription that a list shows."""


@dataclass(frozen=True)
class DeliveryAttempt:
    """An attempt to deliver, counted before it is made."""

    delivery_id: str
    subscription_id: str
    channel: Channel
    target: str
    secret: str | None
    notice: Notice
    number: int
    """From 1; a greater one may repeat what has arrived."""


def is_due(session: Session, busy: Collection[str]) -> bool:
    """Whether `begin_attempts` would begin any; asked without a lock."""
    return session.scalar(_due(busy).limit(1)) is not None


def begin_attempts(session: Session, busy: Collection[str], count: int) -> Sequence[DeliveryAttempt]:
    """Begin at most `count` due attempts, the longest due first, of one delivery for each subscription.

    `busy`: ids of subscriptions that an attempt is made for at this moment. So a subscriber that does not answer holds
    up nobody but itself. What a newer version has written, and this one cannot read, is postponed, and not counted.
    """
    begun = []
    for delivery in session.scalars(_due(busy).limit(count)).all():
        try:
            notice = NOTICE.read(delivery.notice)
        except UnreadableError as error:
            logger.warning("the delivery %s waits: %s", delivery.id, error)
            delivery.due_at = read_clock(session) + UNREADABLE_SECONDS
            continue
        number = delivery.attempts + 1
        counted = session.scalar(
            update(table_of(Delivery))
            .where(Delivery.id == delivery.id, Delivery.attempts == delivery.attempts, Delivery.state == "waiting")
            .values(attempts=number, due_at=now() + RETRY_SECONDS[min(delivery.attempts, len(RETRY_SECONDS) - 1)])
            .returning(Delivery.id)
        )
        if counted is None:  # another process has begun it
            continue
        to = session.get_one(Subscription, delivery.subscription_id)
        begun.append(DeliveryAttempt(delivery.id, to.id, to.channel, to.target, to.secret, notice, number))
    return begun


def end_attempt(session: Session, attempt: DeliveryAttempt, error: str | None) -> DeliveryState:
    """Store what came of an attempt; `error`: why it failed, None where it did not. Returns the delivery's state."""
    state: DeliveryState = "delivered" if error is None else "waiting"
    if error is not None and attempt.number >= MOST_ATTEMPTS:
        state = "given_up"
    session.execute(
        update(table_of(Delivery))
        .where(Delivery.id == attempt.delivery_id, Delivery.attempts == attempt.number)
        .values(state=state, error=error or "", ended_at=None if state == "waiting" else now())
    )
    return state


def list_deliveries(session: Session, subscription_id: str) -> Sequence[Delivery]:
    """The newest deliveries of a subscription, the newest first.

    Raises:
        NotFoundError: there is no such subscription.
    """
    get_subscription(session, subscription_id)
    return session.scalars(
        select(Delivery)
        .where(Delivery.subscription_id == subscription_id)
        .order_by(Delivery.created_at.desc(), Delivery.id)
        .limit(_LOG_LENGTH)
    ).all()


def last_deliveries(session: Session) -> dict[str, Delivery]:
    """The newest delivery of each subscription that has one, by the subscription's id."""
    newest = (Delivery.created_at.desc(), Delivery.id)
    place = func.row_number().over(partition_by=Delivery.subscription_id, order_by=newest)
    ranked = select(Delivery.id, place.label("place")).subquery()
    found = session.scalars(select(Delivery).join(ranked, ranked.c.id == Delivery.id).where(ranked.c.place == 1))
    return {delivery.subscription_id: delivery for delivery in found}


def count_deliveries(session: Session) -> dict[DeliveryState, int]:
    """How many there are in each state."""
    return dict(session.execute(select(Delivery.state, func.count()).group_by(Delivery.state)).all())


def clear_deliveries(session: Session, seconds: float) -> None:
    """Delete those that ended longer ago."""
    session.execute(delete(Delivery).where(Delivery.state != "waiting", Delivery.ended_at < now() - seconds))


def _due(busy: Collection[str]) -> Select[Delivery]:
    paused = select(Subscription.id).where(Subscription.paused_at.is_not(None))
    is_waiting = (
        Delivery.state == "waiting",
        Delivery.due_at <= now(),
        Delivery.subscription_id.not_in(busy),
        Delivery.subscription_id.not_in(paused),
    )
    place = func.row_number().over(partition_by=Delivery.subscription_id, order_by=(Delivery.due_at, Delivery.id))
    ranked = select(Delivery.id, place.label("place")).where(*is_waiting).subquery()
    return (
        select(Delivery)
        .join(ranked, ranked.c.id == Delivery.id)
        .where(ranked.c.place == 1)
        .order_by(Delivery.due_at, Delivery.id)
    )
