"""What the API and the page read. Lists come in pages: pass the last page's `next_cursor` to get the next one."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from paploss.client.states import ExperimentKind, ExperimentState, TrialState
from paploss.controller.store.database import now
from paploss.controller.store.errors import NotFoundError
from paploss.controller.store.events import OBSTACLE_KINDS
from paploss.controller.store.tables import (
    ApiKey,
    Attempt,
    Evaluation,
    Event,
    Experiment,
    LateResult,
    Round,
    Trial,
    Worker,
)
from paploss.controller.store.trials.counts import IS_WHOLE

Item = TypeVar("Item")

MOST_OBSTACLES: Final = 5
MOST_ATTEMPTS: Final = 100
"""Of a trial, and as many late results: the newest ones are shown."""


@dataclass(frozen=True)
class RowPage(Generic[Item]):
    """A part of a list; `next_cursor` is None on the last page."""

    items: Sequence[Item]
    next_cursor: str | None


@dataclass(frozen=True)
class SortedPage(Generic[Item]):
    """A part of a sorted table."""

    items: Sequence[Item]
    total: int
    offset: int
    """Of the first item: the one that was asked for, or that of the last page, where the table is not so long."""


@dataclass(frozen=True)
class RunningTrial:
    """Where a running trial is."""

    id: str
    experiment_id: str
    iteration: int
    total_iterations: int | None


@dataclass(frozen=True)
class Fleet:
    """How many live workers there are, how many of them run a trial, and their GPUs likewise."""

    live: int
    busy: int
    gpus: int
    gpus_busy: int


def get_experiment(session: Session, experiment_id: str, kind: ExperimentKind | None = None) -> Experiment:
    """One experiment; `kind` asks for one of that kind.

    Raises:
        NotFoundError: no such experiment.
    """
    experiment = session.get(Experiment, experiment_id)
    if experiment is None or (kind is not None and experiment.kind != kind):
        raise NotFoundError(f"there is no {kind or 'experiment'} {experiment_id}")
    return experiment


def get_trial(session: Session, trial_id: str) -> Trial:
    """One trial.

    Raises:
        NotFoundError: no such trial.
    """
    trial = session.get(Trial, trial_id)
    if trial is None:
        raise NotFoundError(f"there is no trial {trial_id}")
    return trial


def list_trials(
    session: Session,
    experiment_id: str,
    *,
    state: TrialState | None = None,
    kind: str | None = None,
    round: int | None = None,  # noqa: A002
    cursor: str | None = None,
    limit: int = 50,
    newest_first: bool = False,
) -> RowPage[Trial]:
    """An experiment's trials by number."""
    order = Trial.number.desc() if newest_first else Trial.number
    query = select(Trial).where(Trial.experiment_id == experiment_id).order_by(order).limit(limit + 1)
    if state is not None:
        query = query.where(Trial.state == state)
    if kind is not None:
        query = query.where(Trial.kind == kind)
    if round is not None:
        query = query.where(Trial.round == round)
    if cursor is not None:
        after = int(cursor)
        query = query.where(Trial.number < after if newest_first else Trial.number > after)
    return page_of(session.scalars(query).all(), limit, lambda trial: str(trial.number))


def list_rounds(session: Session, experiment_id: str, cursor: str | None = None, limit: int = 200) -> RowPage[Round]:
    """The versions of a search's algorithm by number."""
    query = select(Round).where(Round.experiment_id == experiment_id).order_by(Round.number).limit(limit + 1)
    if cursor is not None:
        query = query.where(Round.number > int(cursor))
    return page_of(session.scalars(query).all(), limit, lambda row: str(row.number))


def list_events(session: Session, experiment_id: str, cursor: str | None = None, limit: int = 200) -> RowPage[Event]:
    """An experiment's event log, oldest first; there is always a cursor, to ask later for new lines."""
    query = select(Event).where(Event.experiment_id == experiment_id).order_by(Event.id).limit(limit)
    if cursor is not None:
        query = query.where(Event.id > int(cursor))
    items = session.scalars(query).all()
    return RowPage(items, str(items[-1].id) if items else cursor)


def latest_events(session: Session, experiment_id: str, limit: int) -> Sequence[Event]:
    """The newest lines of an experiment's event log, in ascending order."""
    query = select(Event).where(Event.experiment_id == experiment_id).order_by(Event.id.desc()).limit(limit)
    return session.scalars(query).all()[::-1]


def latest_obstacles(session: Session) -> Sequence[Event]:
    """The newest MOST_OBSTACLES events about elastic workers that cannot begin, newest first."""
    return session.scalars(
        select(Event)
        .where(Event.kind.in_(OBSTACLE_KINDS), Event.experiment_id.is_(None))
        .order_by(Event.id.desc())
        .limit(MOST_OBSTACLES)
    ).all()


def obstacle_prefix(pool: str) -> str:
    """What the messages about a pool's obstacles begin with."""
    return f"workers of pool {pool}: "


def standing_obstacles(session: Session, pools: Iterable[str]) -> list[str]:
    """What keeps elastic workers of these pools from starting now, a line for each such pool."""
    newest = [
        session.scalars(
            select(Event)
            .where(
                Event.kind.in_(OBSTACLE_KINDS),
                Event.experiment_id.is_(None),
                Event.message.startswith(obstacle_prefix(pool)),
            )
            .order_by(Event.id.desc())
            .limit(1)
        ).first()
        for pool in pools
    ]
    return [event.message for event in newest if event is not None and event.kind == "workers_blocked"]


def list_workers(session: Session, cursor: str | None, limit: int) -> RowPage[Worker]:
    """Workers by name, whenever they were last seen."""
    query = select(Worker).order_by(Worker.name).limit(limit + 1)
    if cursor is not None:
        query = query.where(Worker.name > cursor)
    return page_of(session.scalars(query).all(), limit, lambda worker: worker.name)


def find_known_workers(session: Session, names: Collection[str]) -> set[str]:
    """The subset of the names under which a worker has claimed a trial."""
    return set(session.scalars(select(Worker.name).where(Worker.name.in_(names))))


def running_trials(session: Session, workers: Sequence[str]) -> dict[str, RunningTrial]:
    """What these workers run, by their names; those that run nothing are left out."""
    rows = session.execute(
        select(Trial.worker, Trial.id, Trial.experiment_id, Trial.iteration, Trial.total_iterations)
        .where(Trial.state == "running", Trial.worker.in_(workers))
        .order_by(Trial.id)
    )
    return {row.worker: RunningTrial(*row[1:]) for row in rows}


def measure_fleet(session: Session, waiting: Collection[str], lease_seconds: float) -> Fleet:
    """The live workers: those that wait at the queue, and those that were seen within one lease time."""
    seen = session.execute(
        select(Worker.name, Worker.gpus).where(
            or_(Worker.name.in_(waiting), Worker.last_seen_at > now() - lease_seconds)
        )
    )
    gpus: dict[str, int] = dict.fromkeys(waiting, 0) | dict(seen.all())
    running = session.scalars(select(Trial.worker).where(Trial.state == "running").distinct()).all()
    busy = gpus.keys() & set(running)
    return Fleet(
        live=len(gpus), busy=len(busy), gpus=sum(gpus.values()), gpus_busy=sum(gpus[name] for name in busy if name)
    )


def list_attempts(session: Session, trial_id: str) -> Sequence[Attempt]:
    """A trial's newest attempts, in order."""
    newest = select(Attempt).where(Attempt.trial_id == trial_id).order_by(Attempt.number.desc()).limit(MOST_ATTEMPTS)
    return session.scalars(newest).all()[::-1]


def list_evaluations(session: Session, trial_id: str) -> Sequence[Evaluation]:
    """A trial's evaluations in order: its learning curve."""
    return session.scalars(
        select(Evaluation).where(Evaluation.trial_id == trial_id).order_by(Evaluation.iteration)
    ).all()


def list_late_results(session: Session, trial_id: str) -> Sequence[LateResult]:
    """Results of a trial that came too late and were not counted: the newest, in order."""
    newest = (
        select(LateResult).where(LateResult.trial_id == trial_id).order_by(LateResult.id.desc()).limit(MOST_ATTEMPTS)
    )
    return session.scalars(newest).all()[::-1]


def list_keys(session: Session) -> Sequence[ApiKey]:
    """All API keys, revoked ones too."""
    return session.scalars(select(ApiKey).order_by(ApiKey.name)).all()


def count_trials(session: Session, experiment_ids: Sequence[str]) -> dict[str, dict[TrialState, int]]:
    """How many trials of each experiment are in each state (states without trials are left out)."""
    counts: dict[str, dict[TrialState, int]] = {experiment_id: {} for experiment_id in experiment_ids}
    rows = session.execute(
        select(Trial.experiment_id, Trial.state, func.count())
        .where(Trial.experiment_id.in_(experiment_ids))
        .group_by(Trial.experiment_id, Trial.state)
    )
    for experiment_id, state, count in rows:
        counts[experiment_id][state] = count
    return counts


def count_experiments(session: Session) -> dict[ExperimentState, int]:
    """How many experiments are in each state."""
    rows = session.execute(select(Experiment.state, func.count()).group_by(Experiment.state))
    return dict(rows.all())


def best_trial(session: Session, experiment_id: str) -> Trial | None:
    """The proxy of the whole length with the highest reward, the earliest in a tie."""
    return session.scalar(
        select(Trial)
        .where(Trial.experiment_id == experiment_id, *IS_WHOLE, Trial.reward.is_not(None))
        .order_by(Trial.reward.desc(), Trial.number)
        .limit(1)
    )


def within_table(offset: int, limit: int, total: int) -> int:
    """The offset, or that of the last page, where a table of `total` rows is not so long."""
    return min(offset, max(total - 1, 0) // limit * limit)


def page_of(items: Sequence[Item], limit: int, key: Callable[[Item], str]) -> RowPage[Item]:
    """A page of `limit` items, from a query that has asked for one more."""
    return RowPage(items[:limit], key(items[limit - 1]) if len(items) > limit else None)
