"""What the page and the figures read beyond plain lists: whole columns of a search's trials, and sorted tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.store.models import REWARDED_STATES, Search, Trial, TrialState

TrialOrder = Literal["number", "round", "state", "ap", "iteration", "seconds", "worker", "label"]

_COLUMNS = {
    "number": Trial.number,
    "round": Trial.round,
    "state": Trial.state,
    "ap": Trial.reward,
    "iteration": Trial.iteration,
    "seconds": Trial.seconds,
    "worker": Trial.worker,
    "label": Trial.label,
}


@dataclass(frozen=True)
class Reward:
    """One rewarded trial, as the reward figure shows it."""

    trial_id: str
    number: int
    round: int
    reward: float
    state: TrialState


@dataclass(frozen=True)
class LabelRewards:
    """The rewards of one candidate or loss over its seeds."""

    label: str
    rewards: tuple[float, ...]
    planned: int


def read_rewards(session: Session, search_id: str) -> Sequence[Reward]:
    """All rewarded proxies of a search, by number."""
    rows = session.execute(
        select(Trial.id, Trial.number, Trial.round, Trial.reward, Trial.state)
        .where(Trial.search_id == search_id, Trial.kind == "proxy", Trial.state.in_(REWARDED_STATES))
        .order_by(Trial.number)
    )
    return [
        Reward(trial_id, number, round_number, reward, state)
        for trial_id, number, round_number, reward, state in rows
        if round_number is not None and reward is not None
    ]


def read_label_rewards(session: Session, search_id: str) -> Sequence[LabelRewards]:
    """Confirmations or trainings of a search by label, the highest mean first; labels without a reward last."""
    rows = session.execute(
        select(Trial.label, Trial.reward)
        .where(Trial.search_id == search_id, Trial.kind.not_in(("proxy", "rate_check")))
        .order_by(Trial.number)
    )
    rewards: dict[str, list[float]] = {}
    planned: dict[str, int] = {}
    for label, reward in rows:
        planned[label] = planned.get(label, 0) + 1
        rewards.setdefault(label, []).extend([] if reward is None else [reward])
    found = [LabelRewards(label, tuple(values), planned[label]) for label, values in rewards.items()]
    return sorted(found, key=lambda row: -sum(row.rewards) / len(row.rewards) if row.rewards else 1.0)


def sort_trials(
    session: Session, search_id: str, *, order: TrialOrder, descending: bool, offset: int, limit: int
) -> Sequence[Trial]:
    """One page of a search's trials by any column; rows without a value come last in both directions."""
    column = _COLUMNS[order]
    return session.scalars(
        select(Trial)
        .where(Trial.search_id == search_id)
        .order_by(column.is_(None), column.desc() if descending else column, Trial.number)
        .offset(offset)
        .limit(limit)
    ).all()


def open_classes(session: Session) -> set[int]:
    """Resource classes (GPUs per trial) of the searches that have not ended."""
    return set(session.scalars(select(Search.gpus).where(Search.state.in_(("running", "paused"))).distinct()))


def seconds_per_trial(session: Session, search_id: str, window: int = 24) -> float | None:
    """Time between the ends of a search's last `window` trials, on average: what a trial takes with the workers at
    hand. None until three have ended."""
    ends = (
        select(Trial.finished_at)
        .where(Trial.search_id == search_id, Trial.finished_at.is_not(None))
        .order_by(Trial.finished_at.desc())
        .limit(window)
        .subquery()
    )
    first, last, count = session.execute(
        select(func.min(ends.c.finished_at), func.max(ends.c.finished_at), func.count())
    ).one()
    return (last - first) / (count - 1) if count >= 3 else None
