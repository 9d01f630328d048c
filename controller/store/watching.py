"""What the leader reads of running experiments to notice a new best and a standstill, and what it has told of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.client.states import OPEN_TRIAL_STATES
from paploss.controller.store.database import read_clock
from paploss.controller.store.tables import Experiment, Trial, WatchState
from paploss.controller.store.trials.counts import IS_WHOLE


@dataclass(frozen=True)
class Rise:
    """A search whose best reward is higher than what its watch state has."""

    experiment_id: str
    reward: float
    before: float | None
    """None where this is the first reward: no news that one would wait for."""


class Activity(NamedTuple):
    """What changes when an experiment advances: a trial is proposed, begins, trains or ends."""

    proposed: int
    queued: int
    running: int
    iterations: int
    """Of trials that have not ended, in sum."""


def find_rises(session: Session) -> Sequence[Rise]:
    """Running searches with a new best proxy."""
    best = select(func.max(Trial.reward)).where(Trial.experiment_id == Experiment.id, *IS_WHOLE).scalar_subquery()
    rows = session.execute(
        select(Experiment.id, best.label("reward"), WatchState.best_reward)
        .outerjoin(WatchState, WatchState.experiment_id == Experiment.id)
        .where(Experiment.state == "running", Experiment.kind == "search")
        .where(best > func.coalesce(WatchState.best_reward, -1.0))
        .order_by(Experiment.id)
    )
    return [Rise(row.id, row.reward, row.best_reward) for row in rows]


def read_activities(session: Session) -> Mapping[str, Activity]:
    """Of each running experiment."""
    rows = session.execute(
        select(Trial.experiment_id, Trial.state, func.count(), func.sum(Trial.iteration))
        .join(Experiment, Experiment.id == Trial.experiment_id)
        .where(Experiment.state == "running", Trial.state.in_(OPEN_TRIAL_STATES))
        .group_by(Trial.experiment_id, Trial.state)
    )
    counts = {(experiment_id, state): (count, iterations) for experiment_id, state, count, iterations in rows}
    found = {}
    for experiment_id, proposed in session.execute(
        select(Experiment.id, Experiment.next_number).where(Experiment.state == "running")
    ):
        queued, waiting_iterations = counts.get((experiment_id, "queued"), (0, 0))
        running, iterations = counts.get((experiment_id, "running"), (0, 0))
        found[experiment_id] = Activity(proposed, queued, running, int(waiting_iterations + iterations))
    return found


def read_watch_state(session: Session, experiment_id: str) -> WatchState:
    """What has been told of an experiment, to be changed in this session."""
    found = session.get(WatchState, experiment_id)
    if found is None:
        found = WatchState(experiment_id=experiment_id)
        session.add(found)
    return found


def find_stalled(session: Session) -> set[str]:
    """Ids of the running experiments that are known to stand still."""
    return set(
        session.scalars(
            select(WatchState.experiment_id)
            .join(Experiment, Experiment.id == WatchState.experiment_id)
            .where(WatchState.stalled_at.is_not(None), Experiment.state == "running")
        )
    )


def set_stalled(session: Session, experiment_id: str, *, is_stalled: bool) -> None:
    """Remember that an experiment stands still, or that it advances again."""
    read_watch_state(session, experiment_id).stalled_at = read_clock(session) if is_stalled else None
