"""Failures of an experiment, grouped by reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.client.states import Outcome
from paploss.controller.store.tables import Attempt, Trial

REASON_CHARACTERS = 300
MOST_REASONS: Final = 20


@dataclass(frozen=True)
class FailedAttempts:
    """Attempts that ended in the same way, for one reason."""

    outcome: Outcome
    """failed, preempted or expired."""
    error_kind: str | None
    reason: str
    """First line of the error; empty where a worker was only preempted."""
    count: int
    trial_id: str
    """The newest trial that it happened to."""
    last_at: float
    """Seconds since 1970."""


def read_failures(session: Session, experiment_id: str) -> Sequence[FailedAttempts]:
    """Attempts that ended without a result, by reason, the most frequent first; MOST_REASONS at most."""
    reason = func.coalesce(func.substr(Attempt.error, 1, REASON_CHARACTERS), "")
    rows = session.execute(
        select(
            Attempt.outcome,
            Attempt.error_kind,
            reason,
            func.count(),
            func.max(Attempt.trial_id),
            func.max(Attempt.ended_at),
        )
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(Trial.experiment_id == experiment_id, Attempt.outcome.in_(("failed", "preempted", "expired")))
        .group_by(Attempt.outcome, Attempt.error_kind, reason)
    )
    merged: dict[tuple[str, str | None, str], FailedAttempts] = {}
    for outcome, error_kind, text, count, trial_id, last_at in rows:
        line = text.partition("\n")[0]
        key = (outcome, error_kind, line)
        before = merged.get(key)
        merged[key] = FailedAttempts(
            outcome,
            error_kind,
            line,
            count + (before.count if before else 0),
            max(trial_id, before.trial_id) if before else trial_id,
            max(last_at or 0, before.last_at) if before else last_at or 0,
        )
    return sorted(merged.values(), key=lambda failure: (failure.outcome != "failed", -failure.count))[:MOST_REASONS]
