"""How many of a search's trials stand where: all that is decided about it is decided from these."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, ScalarSelect, bindparam, func, select
from sqlalchemy.orm import Session

from paploss.client.states import OPEN_TRIAL_STATES, REWARDED_STATES
from paploss.controller.store.database import is_one_of, table_of
from paploss.controller.store.models import Search, Trial

_TRIALS, _SEARCHES = table_of(Trial), table_of(Search)
_IS_REWARDED = is_one_of(_TRIALS.c.state, REWARDED_STATES)
UNCONSUMED = (
    _TRIALS.c.kind == "proxy",
    _TRIALS.c.consumed_round.is_(None),
    _TRIALS.c.finished_at.is_not(None),
)
"""Proxies that have ended and that no update has made use of; the partial index of that name."""


def _count(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    its = _TRIALS.c.search_id == bindparam("search_id")
    return select(func.count()).select_from(_TRIALS).where(its, *conditions).scalar_subquery()


# One statement, made once: the leader asks it of every search in every tick.
_COUNTS = select(
    _count(is_one_of(_TRIALS.c.state, OPEN_TRIAL_STATES)).label("open"),
    _count(_TRIALS.c.state == "failed").label("failed"),
    _count(*UNCONSUMED, _IS_REWARDED).label("ready"),
    _count(*UNCONSUMED, ~_IS_REWARDED).label("lost"),
)
_OPEN = (
    select(_TRIALS.c.search_id, func.count())
    .join(_SEARCHES)
    .where(_SEARCHES.c.state == "running", is_one_of(_TRIALS.c.state, OPEN_TRIAL_STATES))
    .group_by(_TRIALS.c.search_id)
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


def count_open(session: Session) -> dict[str, int]:
    """Open trials of every running search that has some."""
    return dict(session.execute(_OPEN).all())


def count_trials(session: Session, search_id: str) -> Counts:
    """Where a search's trials stand, as the transaction sees them."""
    return Counts(*session.execute(_COUNTS, {"search_id": search_id}).one())
