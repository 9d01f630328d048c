"""The event log: what happened to an experiment, in words. They are for people, so an AP in them is in percent."""

import logging
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from sqlalchemy import event, insert
from sqlalchemy.orm import Session

from paploss.controller.store.database import table_of
from paploss.controller.store.notifications.outbox import OCCASIONS, add_deliveries
from paploss.controller.store.tables import Event

EventKind = Literal[
    "experiment_started",
    "experiment_paused",
    "experiment_resumed",
    "experiment_cancelled",
    "experiment_failed",
    "experiment_succeeded",
    "experiment_unreadable",
    "experiment_stalled",
    "experiment_advancing",
    "new_best",
    "round_closed",
    "pilot_started",
    "pilot_ended",
    "confirm_started",
    "rates_chosen",
    "seeds_added",
    "trials_replaced",
    "budget_spent",
    "trial_succeeded",
    "trial_pruned",
    "trial_failed",
    "trial_cancelled",
    "trial_retried",
    "trial_preempted",
    "trial_paused",
    "lease_expired",
    "lease_revived",
    "late_result",
    "leader_changed",
    "workers_blocked",
    "workers_unblocked",
    "details_cleared",
]
OBSTACLE_KINDS: Final[tuple[EventKind, ...]] = ("workers_blocked", "workers_unblocked")
"""About elastic workers that cannot start. The newest of a pool says how it is now, however old it is."""
Level = Literal["info", "warning", "error"]

logger = logging.getLogger(__name__)

_ADD = insert(table_of(Event))
_UNTOLD = "untold"
"""Key in a session's info: the lines for the process's own log, written there after the commit."""


class Line(NamedTuple):
    """A line of the event log."""

    kind: EventKind
    message: str
    experiment_id: str | None = None
    trial_id: str | None = None
    worker: str | None = None
    level: Level = "info"


def record(
    session: Session,
    kind: EventKind,
    message: str,
    *,
    experiment_id: str | None = None,
    trial_id: str | None = None,
    worker: str | None = None,
    level: Level = "info",
) -> None:
    """Add a line to the event log, in the transaction that it describes; the process's own log gets it on commit.

    Subscribers that asked for it are told: their deliveries are part of the transaction too.
    """
    record_many(session, [Line(kind, message, experiment_id, trial_id, worker, level)])


def record_many(session: Session, lines: Sequence[Line]) -> None:
    """Add lines to the event log, as `record` does with one."""
    if not lines:
        return
    rows = [
        {
            "kind": line.kind,
            "message": line.message,
            "experiment_id": line.experiment_id,
            "trial_id": line.trial_id,
            "level": line.level,
        }
        for line in lines
    ]
    session.execute(_ADD, rows)
    session.info.setdefault(_UNTOLD, []).extend(lines)
    for line in lines:
        if line.experiment_id is not None and (occasion := OCCASIONS.get(line.kind)) is not None:
            add_deliveries(session, occasion, line.message, line.experiment_id)


@event.listens_for(Session, "after_commit")
def _tell(session: Session) -> None:
    for line in session.info.pop(_UNTOLD, ()):
        fields = {"event": line.kind, "experiment": line.experiment_id, "trial": line.trial_id, "worker": line.worker}
        logger.log(logging.getLevelNamesMapping()[line.level.upper()], "%s", line.message, extra=fields)
