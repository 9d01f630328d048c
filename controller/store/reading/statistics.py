"""What monitoring reads of what runs now, each by one statement; see also `paploss.controller.store.trials.tallies`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.controller.store.database import now
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials.counts import IS_WHOLE


@dataclass(frozen=True)
class SearchReward:
    """The best single reward of one running search; None until it has one."""

    experiment_id: str
    name: str
    profile: str
    reward: float | None


def count_queued(session: Session) -> Mapping[int, int]:
    """Trials of running experiments that wait for a worker, by resource class (GPUs per trial)."""
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


def read_best_rewards(session: Session, limit: int) -> Sequence[SearchReward]:
    """Running searches, the newest `limit` of them, with their best proxy's reward."""
    best = select(func.max(Trial.reward)).where(Trial.experiment_id == Experiment.id, *IS_WHOLE).scalar_subquery()
    rows = session.execute(
        select(Experiment.id, Experiment.name, Experiment.profile, best)
        .where(Experiment.kind == "search", Experiment.state == "running")
        .order_by(Experiment.id.desc())
        .limit(limit)
    )
    return [SearchReward(*row) for row in rows]
