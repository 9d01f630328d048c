"""The time that workers have spent on an experiment's trials, whatever came of them."""

from typing import NamedTuple

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from paploss.controller.store.database import now, table_of
from paploss.controller.store.tables import Attempt, Trial

_TRIALS, _ATTEMPTS = table_of(Trial), table_of(Attempt)
_ITS = _TRIALS.c.experiment_id == bindparam("experiment_id")
_ENDED = (
    select(
        func.coalesce(func.sum(_ATTEMPTS.c.ended_at - _ATTEMPTS.c.claimed_at), 0.0),
        func.count(_ATTEMPTS.c.trial_id.distinct()),
    )
    .join(_TRIALS, _TRIALS.c.id == _ATTEMPTS.c.trial_id)
    .where(_ITS, _ATTEMPTS.c.ended_at.is_not(None))
)
_ALL = (
    select(func.coalesce(func.sum(func.coalesce(_ATTEMPTS.c.ended_at, now()) - _ATTEMPTS.c.claimed_at), 0.0))
    .join(_TRIALS, _TRIALS.c.id == _ATTEMPTS.c.trial_id)
    .where(_ITS)
)


class Spending(NamedTuple):
    """Of the attempts that have ended: failed, cancelled and preempted ones count like others."""

    seconds: float
    """All together."""
    trials: int
    """That they belong to."""


def read_spending(session: Session, experiment_id: str) -> Spending:
    """What an experiment's ended attempts have cost."""
    return Spending(*session.execute(_ENDED, {"experiment_id": experiment_id}).one())


def read_spent_seconds(session: Session, experiment_id: str) -> float:
    """The time of all attempts, that of running ones until now."""
    return float(session.execute(_ALL, {"experiment_id": experiment_id}).scalar_one())
