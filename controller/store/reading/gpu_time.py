"""What a search's GPUs did over time: trained, lost work, waited. Made from the attempts' intervals alone.

A GPU is counted as long as its worker is known to be there for the search: from the worker's first claim within the
search's time to its last heartbeat. Trials without a GPU of their own (`gpus: 0`) count as one each.

Of a preempted attempt, the time after its last checkpoint is lost. The checkpoint is where the next attempt
resumed; how long it took to get there follows from the trial's time per iteration.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.client.states import Outcome
from paploss.controller.store.database import read_clock
from paploss.controller.store.tables import Attempt, Experiment, Trial, Worker

Use = Literal["busy", "preempted", "failed", "elsewhere"]
USES: tuple[Use, ...] = ("busy", "preempted", "failed", "elsewhere")
"""Work that was kept; work lost to preemption or an expired lease; work of failed attempts; other searches'."""


@dataclass(frozen=True)
class Interval:
    """What one worker did from `begin` to `end`, seconds since 1970."""

    worker: str
    use: Use
    begin: float
    end: float


@dataclass(frozen=True, eq=False)
class GpuTime:
    """Mean number of GPUs in each use, by time."""

    edges: NDArray[np.float64]
    """[B + 1] seconds since 1970."""
    uses: dict[Use, NDArray[np.float64]]
    """[B] for each."""
    idle: NDArray[np.float64]
    """[B]"""

    def share(self, use: Use | Literal["idle"]) -> float:
        """Part of the GPU time in this use, in [0, 1]; 0 where there is none at all."""
        width = np.diff(self.edges)
        total = float(sum(values @ width for values in (*self.uses.values(), self.idle)))
        part = float((self.idle if use == "idle" else self.uses[use]) @ width)
        return part / total if total > 0 else 0.0


class _Attempt(NamedTuple):
    trial_id: str
    worker: str
    claimed_at: float
    ended_at: float | None
    outcome: Outcome | None
    resumed_iteration: int
    seconds: float | None
    total_iterations: int | None


def read_gpu_time(session: Session, search: Experiment, bins: int = 96) -> GpuTime:
    """The use of a search's GPUs from its first claim to its end, or to now, in `bins` equal parts."""
    clock = read_clock(session)
    rows = _read_attempts(session, search)
    intervals = [part for _, of_trial in groupby(rows, lambda row: row.trial_id) for part in _split([*of_trial], clock)]
    if not intervals:
        return add_up([], {}, (search.created_at, search.created_at + 1), bins, search.gpus)
    begin = min(interval.begin for interval in intervals)
    end = max(search.finished_at or clock, begin + 1)
    names = sorted({interval.worker for interval in intervals})
    intervals += _read_elsewhere(session, search, names, (begin, end), clock)
    seen = session.execute(select(Worker.name, Worker.last_seen_at).where(Worker.name.in_(names))).all()
    return add_up(intervals, dict(seen), (begin, end), bins, search.gpus)


def add_up(
    intervals: Sequence[Interval], seen: dict[str, float], span: tuple[float, float], bins: int, gpus: int
) -> GpuTime:
    """The use by time from what each worker did.

    Args:
        intervals: in any order; those of one worker do not overlap.
        seen: last heartbeat of each worker, seconds since 1970.
        span: first and last moment, seconds since 1970.
        bins: in how many parts.
        gpus: GPUs of one trial; 0 counts as 1.
    """
    edges = np.linspace(*span, bins + 1)
    weight = max(1, gpus) / np.diff(edges)
    uses = {use: weight * _overlaps([(i.begin, i.end) for i in intervals if i.use == use], edges) for use in USES}
    presence: dict[str, tuple[float, float]] = {}
    for interval in intervals:
        begin, end = presence.get(interval.worker, (interval.begin, interval.end))
        presence[interval.worker] = (min(begin, interval.begin), max(end, interval.end))
    stays = [(begin, max(end, seen.get(name, end))) for name, (begin, end) in presence.items()]
    idle = weight * _overlaps(stays, edges) - sum(uses.values(), np.zeros(bins))
    return GpuTime(edges, uses, np.maximum(idle, 0))


def _overlaps(spans: Sequence[tuple[float, float]], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B] seconds of all spans together in each part of the time.

    By what lies before each edge and not span by span: a search may have a million attempts.
    """
    if not spans:
        return np.zeros(edges.size - 1)
    begin, end = np.asarray(spans, dtype=np.float64).T - edges[0]  # else seconds since 1970 would cost digits
    end = np.maximum(begin, end)  # of a clock that was set back
    before = _sum_before(begin, edges - edges[0]) - _sum_before(end, edges - edges[0])
    return np.asarray(np.maximum(np.diff(before), 0))


def _sum_before(moments: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B + 1] sum of edge - moment over all moments before each edge."""
    ascending = np.sort(moments)
    counts = np.searchsorted(ascending, edges)
    sums = np.concatenate([[0.0], np.cumsum(ascending)])[counts]
    return np.asarray(counts * edges - sums)


def _read_attempts(session: Session, search: Experiment) -> Sequence[_Attempt]:
    rows = session.execute(
        select(
            Attempt.trial_id,
            Attempt.worker,
            Attempt.claimed_at,
            Attempt.ended_at,
            Attempt.outcome,
            Attempt.resumed_iteration,
            Trial.seconds,
            Trial.total_iterations,
        )
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(Trial.experiment_id == search.id)
        .order_by(Attempt.trial_id, Attempt.number)
    )
    return [_Attempt(*row) for row in rows]


def _read_elsewhere(
    session: Session, search: Experiment, workers: Sequence[str], span: tuple[float, float], clock: float
) -> list[Interval]:
    """What the same workers did for other searches meanwhile."""
    rows = session.execute(
        select(Attempt.worker, Attempt.claimed_at, Attempt.ended_at)
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(
            Attempt.worker.in_(workers),
            Attempt.claimed_at < span[1],
            func.coalesce(Attempt.ended_at, clock) > span[0],
            Trial.experiment_id != search.id,
        )
    )
    return [
        Interval(worker, "elsewhere", max(begin, span[0]), min(end or clock, span[1])) for worker, begin, end in rows
    ]


def _split(attempts: Sequence[_Attempt], clock: float) -> list[Interval]:
    """A trial's attempts in order, each as what was kept of it and what was lost."""
    found = []
    for number, attempt in enumerate(attempts):
        end = attempt.ended_at or clock
        following = attempts[number + 1] if number + 1 < len(attempts) else None
        lost: Use = "failed" if attempt.outcome == "failed" else "preempted"
        if attempt.outcome == "failed":
            kept_until = attempt.claimed_at
        elif attempt.outcome in ("preempted", "expired", "paused"):
            kept_until = min(end, attempt.claimed_at + _kept_seconds(attempt, following))
        else:
            kept_until = end
        found += [
            Interval(attempt.worker, "busy", attempt.claimed_at, kept_until),
            Interval(attempt.worker, lost, kept_until, end),
        ]
    return found


def _kept_seconds(attempt: _Attempt, following: _Attempt | None) -> float:
    if following is None:  # its next attempt has not begun: released with a checkpoint, or expired without one
        return 0.0 if attempt.outcome == "expired" else float("inf")
    kept_iterations = following.resumed_iteration - attempt.resumed_iteration
    if kept_iterations <= 0:
        return 0.0
    if not attempt.seconds or not attempt.total_iterations:
        return float("inf")
    return float(kept_iterations * attempt.seconds / attempt.total_iterations)
