"""How an experiment went, training by training: what comparisons of experiments draw, and single trials by columns."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from paploss.controller.store.reading.overview import MEASURED_KINDS
from paploss.controller.store.tables import Attempt, Experiment, Trial
from paploss.controller.store.trials.counts import IS_WHOLE
from paploss.jobs.documents import JsonObject

MOST_MEASURED: Final = 1000
"""Trials that the columns of a search show."""


class EndedTraining(NamedTuple):
    """One training of an experiment, in the order in which they ended."""

    finished_at: float
    """Seconds since 1970."""
    reward: float | None
    """None of a training that stopped before its whole length, too."""
    worker_seconds: float
    """Of all its attempts, whatever came of them."""


def read_course(session: Session, experiment: Experiment) -> Sequence[EndedTraining]:
    """The trainings that have ended: a search's proxies, or the trainings of losses that were given."""
    kinds = ("proxy",) if experiment.kind == "search" else MEASURED_KINDS
    seconds = func.coalesce(func.sum(Attempt.ended_at - Attempt.claimed_at), 0.0)
    rows = session.execute(
        select(Trial.finished_at, case((Trial.length == 1, Trial.reward)), seconds)
        .outerjoin(Attempt, Attempt.trial_id == Trial.id)
        .where(Trial.experiment_id == experiment.id, Trial.kind.in_(kinds), Trial.finished_at.is_not(None))
        .group_by(Trial.id)
        .order_by(Trial.finished_at, Trial.number)
    )
    return [EndedTraining(at or 0.0, reward, worked or 0.0) for at, reward, worked in rows]


class MeasuredTrial(NamedTuple):
    """A rewarded proxy of the whole length with what a scatter plot can show of it."""

    id: str
    number: int
    round: int | None
    reward: float
    seconds: float | None
    learning_rate_factor: float
    theta: list[float]
    metrics: JsonObject | None


def read_measured(session: Session, search_id: str) -> Sequence[MeasuredTrial]:
    """The newest rewarded proxies of a search, MOST_MEASURED at most, by number."""
    columns = [getattr(Trial, name) for name in MeasuredTrial._fields]
    rows = session.execute(
        select(*columns)
        .where(
            Trial.experiment_id == search_id,
            *IS_WHOLE,
            Trial.reward.is_not(None),
            Trial.theta.is_not(None),
        )
        .order_by(Trial.number.desc())
        .limit(MOST_MEASURED)
    ).all()
    return [MeasuredTrial(*row) for row in reversed(rows)]
