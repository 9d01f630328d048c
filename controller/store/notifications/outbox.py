"""Writing to the outbox: an event that subscribers asked for adds their deliveries, in the event's own transaction.

So there is a delivery exactly where the event has happened, whatever dies when.
"""

import uuid
from collections.abc import Mapping
from typing import Final

from sqlalchemy import insert, or_, select
from sqlalchemy.orm import Session

from paploss.client.notifications import Occasion
from paploss.controller.store.database import read_clock, table_of
from paploss.controller.store.documents import NOTICE, Notice
from paploss.controller.store.tables import Delivery, Experiment, Subscription

OCCASIONS: Final[Mapping[str, Occasion]] = {
    "experiment_succeeded": "ended",
    "experiment_cancelled": "ended",
    "experiment_failed": "failed",
    "experiment_stalled": "stalled",
    "new_best": "new_best",
    "budget_spent": "budget_spent",
}
"""The occasion of each event that subscribers can be told of, by the event's kind."""

_SUBSCRIPTIONS, _EXPERIMENTS = table_of(Subscription), table_of(Experiment)
_LONGEST_MESSAGE: Final = 2000
"""Characters; an error may bring a whole log with it."""


def add_deliveries(session: Session, occasion: Occasion, message: str, experiment_id: str) -> None:
    """Add a delivery for each subscription that asks for this occasion of this experiment, or of all of its project."""
    its_project = select(_EXPERIMENTS.c.project).where(_EXPERIMENTS.c.id == experiment_id).scalar_subquery()
    asks = (
        _SUBSCRIPTIONS.c.paused_at.is_(None),
        or_(_SUBSCRIPTIONS.c.experiment_id.is_(None), _SUBSCRIPTIONS.c.experiment_id == experiment_id),
        or_(_SUBSCRIPTIONS.c.project.is_(None), _SUBSCRIPTIONS.c.project == its_project),
    )
    # Of bare tables: who made the event may not see everybody who is to be told of it.
    subscriptions = session.execute(select(_SUBSCRIPTIONS.c.id, _SUBSCRIPTIONS.c.occasions).where(*asks)).all()
    wanted = [row.id for row in subscriptions if occasion in row.occasions]
    if not wanted:
        return
    experiment = session.get_one(Experiment, experiment_id)
    notice = Notice(
        occasion=occasion,
        at=read_clock(session),
        message=message[:_LONGEST_MESSAGE],
        experiment_id=experiment.id,
        kind=experiment.kind,
        name=experiment.name,
        state=experiment.state,
    )
    for subscription_id in wanted:
        add_delivery(session, subscription_id, notice)


def add_delivery(session: Session, subscription_id: str, notice: Notice) -> str:
    """Add one delivery, due at once; returns its id."""
    delivery_id = str(uuid.uuid4())
    values = {"id": delivery_id, "subscription_id": subscription_id, "occasion": notice.occasion}
    session.execute(insert(table_of(Delivery)), values | {"notice": NOTICE.write(notice)})
    return delivery_id
