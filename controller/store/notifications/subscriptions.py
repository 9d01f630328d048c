"""Subscriptions: made, listed, tried, paused and deleted."""

import base64
import secrets
from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from paploss.client.notifications import SubscriptionRequest
from paploss.controller.store.database import now, read_clock, table_of
from paploss.controller.store.documents import Notice
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.notifications.outbox import add_delivery
from paploss.controller.store.tables import Delivery, Experiment, Subscription

MOST_SUBSCRIPTIONS = 200
"""In all: each is read with every event that somebody could be told of."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - of Standard Webhooks

_COUNT = select(func.count()).select_from(table_of(Subscription))  # over all projects


def add_subscription(
    session: Session, request: SubscriptionRequest, owner: str, project: str | None = None
) -> Subscription:
    """Store a subscription; a webhook gets a new secret of 256 bits. `project`: whose experiments it is to; None: all,
    or where it is to one experiment, that of it.

    Raises:
        NotFoundError: it is to one experiment, which is not there.
        ConflictError: there are MOST_SUBSCRIPTIONS already.
    """
    if request.experiment_id is not None:
        # Held: where it is deleted at this moment, the subscription is refused and not its foreign key.
        experiment = session.get(Experiment, request.experiment_id, with_for_update={"read": True, "key_share": True})
        if experiment is None:
            raise NotFoundError(f"there is no experiment {request.experiment_id}")
        project = experiment.project
    if session.execute(_COUNT).scalar_one() >= MOST_SUBSCRIPTIONS:
        raise ConflictError(f"there are {MOST_SUBSCRIPTIONS} subscriptions already; delete some that nobody needs")
    subscription = Subscription(
        id=secrets.token_hex(6),
        owner=owner,
        channel=request.channel,
        target=request.target,
        secret=_new_secret() if request.channel == "webhook" else None,
        experiment_id=request.experiment_id,
        occasions=list(dict.fromkeys(request.occasions)),
        project=project,
        created_at=read_clock(session),
    )
    session.add(subscription)
    session.flush()
    return subscription


def list_subscriptions(session: Session) -> Sequence[Subscription]:
    """All of them, the newest first."""
    return session.scalars(select(Subscription).order_by(Subscription.created_at.desc(), Subscription.id)).all()


def get_subscription(session: Session, subscription_id: str) -> Subscription:
    """The subscription.

    Raises:
        NotFoundError: there is none with this id.
    """
    found = session.get(Subscription, subscription_id)
    if found is None:
        raise NotFoundError(f"there is no subscription {subscription_id}")
    return found


def pause_subscription(session: Session, subscription_id: str) -> Subscription:
    """Tell nothing from now on: events add no delivery, and what waits is held until the subscription is resumed.

    Raises:
        NotFoundError: there is none with this id.
    """
    found = get_subscription(session, subscription_id)
    found.paused_at = found.paused_at or read_clock(session)
    return found


def pause_all_of(session: Session, owner: str) -> None:
    """Pause every subscription of an owner, who may no longer see what they asked to be told of."""
    theirs = (Subscription.owner == owner, Subscription.paused_at.is_(None))
    session.execute(update(Subscription).where(*theirs).values(paused_at=now()))


def resume_subscription(session: Session, subscription_id: str) -> Subscription:
    """Tell again of what happens from now on.

    Raises:
        NotFoundError: there is none with this id.
    """
    found = get_subscription(session, subscription_id)
    found.paused_at = None
    return found


def delete_subscription(session: Session, subscription_id: str) -> None:
    """Delete a subscription with its deliveries; what waits is not sent any more.

    Raises:
        NotFoundError: there is none with this id.
    """
    session.delete(get_subscription(session, subscription_id))


def try_subscription(session: Session, subscription_id: str) -> Delivery:
    """Add a delivery that tells nothing but that deliveries arrive.

    Raises:
        NotFoundError: there is none with this id.
        ConflictError: it is paused.
    """
    subscription = get_subscription(session, subscription_id)
    if subscription.paused_at is not None:
        raise ConflictError(f"subscription {subscription_id} is paused; resume it first")
    message = "A test, asked for by hand: notifications arrive here."
    notice = Notice(occasion="test", at=read_clock(session), message=message)
    return session.get_one(Delivery, add_delivery(session, subscription.id, notice))


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
