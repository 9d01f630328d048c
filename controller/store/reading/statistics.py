"""What monitoring reads: a few aggregates over all experiments, each by one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from paploss.client.states import REWARDED_STATES
from paploss.controller.store.database import now
from paploss.controller.store.tables import Attempt, Experiment, Trial


@dataclass(frozen=True)
class Durations:
    """How long the finished proxies of one profile took."""

    profile: str
    counts: tuple[int, ...]
    """How many took at most each of the bounds that were asked for."""
    count: int
    total_seconds: float


@dataclass(frozen=True)
class SearchReward:
    """The best single reward of one running search; None until it has one."""

    experiment_id: str
    name: str
    profile: str
    reward: float | None


def count_queued(session: Session) -> Mapping[int, int]:
    """Trials of running searches that wait for a worker, by resource class (GPUs per trial)."""
    rows = session.execute(
        select(Experiment.gpus, func.count())
        .join(Trial)
        .where(Experiment.state == "running", Trial.state == "queued")
        .group_by(Experiment.gpus)
    )
    return dict(rows.all())


def read_oldest_lease_age(session: Session, lease_seconds: float) -> float:
    """Age of the oldest heartbeat among running trials, in seconds; 0 while none runs."""
    oldest = session.scalar(select(now() - func.min(Trial.lease_until)).where(Trial.state == "running"))
    return 0.0 if oldest is None else max(0.0, oldest + lease_seconds)


def read_durations(session: Session, bounds_seconds: Sequence[float]) -> Sequence[Durations]:
    """How long proxies with a reward took (training and evaluation, over all attempts), by profile."""
    within = [func.sum(case((Trial.seconds <= bound, 1), else_=0)) for bound in bounds_seconds]
    rows = session.execute(
        select(Experiment.profile, func.count(), func.sum(Trial.seconds), *within)
        .join(Trial)
        .where(Trial.kind == "proxy", Trial.state.in_(REWARDED_STATES), Trial.seconds.is_not(None))
        .group_by(Experiment.profile)
        .order_by(Experiment.profile)
    )
    return [Durations(profile, tuple(counts), count, total) for profile, count, total, *counts in rows]


def count_attempts(session: Session) -> Mapping[str, int]:
    """Attempts that have ended, by outcome."""
    rows = session.execute(
        select(Attempt.outcome, func.count()).where(Attempt.outcome.is_not(None)).group_by(Attempt.outcome)
    )
    return {str(outcome): count for outcome, count in rows}


def read_best_rewards(session: Session, limit: int) -> Sequence[SearchReward]:
    """Running searches, the newest `limit` of them, with their best proxy's reward."""
    best = (
        select(func.max(Trial.reward))
        .where(Trial.experiment_id == Experiment.id, Trial.kind == "proxy")
        .scalar_subquery()
    )
    rows = session.execute(
        select(Experiment.id, Experiment.name, Experiment.profile, best)
        .where(Experiment.kind == "search", Experiment.state == "running")
        .order_by(Experiment.id.desc())
        .limit(limit)
    )
    return [SearchReward(*row) for row in rows]
