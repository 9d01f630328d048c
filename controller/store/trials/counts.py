"""Counts of an experiment's trials by state: all decisions about the experiment are based on these."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, ScalarSelect, bindparam, func, select
from sqlalchemy.orm import Session

from paploss.client.states import OPEN_TRIAL_STATES, REWARDED_STATES
from paploss.controller.store.database import is_one_of, table_of
from paploss.controller.store.tables import Experiment, Trial
from paploss.jobs.spec import JobKind

_TRIALS, _EXPERIMENTS = table_of(Trial), table_of(Experiment)
_IS_REWARDED = is_one_of(_TRIALS.c.state, REWARDED_STATES)
UNCONSUMED = (
    _TRIALS.c.kind == "proxy",
    _TRIALS.c.consumed_round.is_(None),
    _TRIALS.c.finished_at.is_not(None),
)
"""Proxies that have ended and that no update has consumed; the condition of the partial index of that name."""
IS_WHOLE = (Trial.kind == "proxy", Trial.length == 1.0)
"""Proxies of the whole length: the best one, figures and verdicts are of these alone."""


def _count(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    its = _TRIALS.c.experiment_id == bindparam("experiment_id")
    return select(func.count()).select_from(_TRIALS).where(its, *conditions).scalar_subquery()


# One statement, made once: the leader asks it of every experiment in every tick.
_COUNTS = select(
    _count(is_one_of(_TRIALS.c.state, OPEN_TRIAL_STATES)).label("open"),
    _count(_TRIALS.c.state == "failed").label("failed"),
    _count(*UNCONSUMED, _IS_REWARDED, _TRIALS.c.derived_from.is_(None)).label("ready"),
    _count(*UNCONSUMED, ~_IS_REWARDED, _TRIALS.c.derived_from.is_(None)).label("unrewarded"),
)
_OPEN = (
    select(_TRIALS.c.experiment_id, func.count())
    .join(_EXPERIMENTS)
    .where(_EXPERIMENTS.c.state == "running", is_one_of(_TRIALS.c.state, OPEN_TRIAL_STATES))
    .group_by(_TRIALS.c.experiment_id)
)


@dataclass(frozen=True)
class Counts:
    """Trials of one experiment."""

    open: int
    """Queued or running, of any kind."""
    failed: int
    """Of any kind."""
    ready: int
    """Proxies with a reward that no update has consumed, without promotions."""
    unrewarded: int
    """Proxies that ended without a reward since the last update, without promotions."""


def count_open(session: Session) -> dict[str, int]:
    """Open trials of every running experiment that has some."""
    return dict(session.execute(_OPEN).all())


def count_trials(session: Session, experiment_id: str) -> Counts:
    """Counts of an experiment's trials, as the transaction sees them."""
    return Counts(*session.execute(_COUNTS, {"experiment_id": experiment_id}).one())


def count_of_kind(session: Session, experiment_id: str, kind: JobKind) -> int:
    """How many trials of a kind there are."""
    of_kind = (Trial.experiment_id == experiment_id, Trial.kind == kind)
    return session.scalar(select(func.count()).select_from(Trial).where(*of_kind)) or 0


def count_ended(session: Session, experiment_id: str, kind: JobKind) -> tuple[int, int]:
    """How many trials of a kind there are, and how many of them have a reward."""
    of_kind = (Trial.experiment_id == experiment_id, Trial.kind == kind, Trial.state.in_(REWARDED_STATES))
    rewarded = session.scalar(select(func.count()).select_from(Trial).where(*of_kind))
    return count_of_kind(session, experiment_id, kind), rewarded or 0


def count_limited_failures(session: Session, experiment_id: str) -> int:
    """Failed trials, without those of given losses at the end of a search and of checks of learning rates.

    A loss that cannot be trained fails in each of these; it leaves its comparison or race, and ends nothing.
    """
    its = (Trial.experiment_id == experiment_id, Trial.state == "failed", Trial.kind.not_in(("rate_check", "confirm")))
    return session.scalar(select(func.count()).select_from(Trial).where(*its)) or 0


def find_running_workers(session: Session, gpus: int) -> set[str]:
    """Names of the workers that run a trial of a resource class."""
    running = select(Trial.worker).join(Experiment).where(Trial.state == "running", Experiment.gpus == gpus)
    return {name for name in session.scalars(running) if name}


def find_shared_mistake(session: Session, experiment_id: str) -> str | None:
    """The user's error that several trials failed with, word for word, while none has a reward; else None.

    Losses that were given may each be at fault by themselves: only what two of them share is the request's.
    """
    of_experiment = Trial.experiment_id == experiment_id
    if session.scalar(select(Trial.id).where(of_experiment, Trial.state.in_(REWARDED_STATES)).limit(1)) is not None:
        return None
    labels = func.count(func.distinct(Trial.label))
    given = select(labels).where(of_experiment).scalar_subquery()
    return session.scalar(
        select(Trial.error)
        .where(of_experiment, Trial.state == "failed", Trial.error_kind == "user")
        .group_by(Trial.error)
        .having(func.count() > 1, (labels > 1) | (given == 1))
        .limit(1)
    )


def find_last_error(session: Session, experiment_id: str) -> str | None:
    """The error of the newest failed trial."""
    return session.scalar(
        select(Trial.error)
        .where(Trial.experiment_id == experiment_id, Trial.state == "failed")
        .order_by(Trial.number.desc())
        .limit(1)
    )
