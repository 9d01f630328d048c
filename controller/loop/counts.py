"""How many of a search's trials stand where: all that is decided about it is decided from these."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, ScalarSelect, bindparam, func, select
from sqlalchemy.orm import Session

from controller.store.database import table_of
from controller.store.models import OPEN_TRIAL_STATES, REWARDED_STATES, Trial

_TRIALS = table_of(Trial)
_UNCONSUMED = (
    _TRIALS.c.kind == "proxy",
    _TRIALS.c.consumed_round.is_(None),
    _TRIALS.c.finished_at.is_not(None),
)


def _count(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    its = _TRIALS.c.search_id == bindparam("search_id")
    return select(func.count()).select_from(_TRIALS).where(its, *conditions).scalar_subquery()


# One statement, made once: the leader asks it of every search in every tick.
_COUNTS = select(
    _count(_TRIALS.c.state.in_(OPEN_TRIAL_STATES)).label("open"),
    _count(_TRIALS.c.state == "failed").label("failed"),
    _count(*_UNCONSUMED, _TRIALS.c.state.in_(REWARDED_STATES)).label("ready"),
    _count(*_UNCONSUMED, _TRIALS.c.state.not_in(REWARDED_STATES)).label("lost"),
)


@dataclass(frozen=True)
class Counts:
    """Trials of one search."""

    open: int
    """Queued or running, of any kind."""
    failed: int
    """Of any kind."""
    ready: int
    """Proxies with a reward that no update has consumed."""
    lost: int
    """Proxies that ended without a reward since the last update."""


def count_trials(session: Session, search_id: str) -> Counts:
    """Where a search's trials stand, as the transaction sees them."""
    return Counts(*session.execute(_COUNTS, {"search_id": search_id}).one())
