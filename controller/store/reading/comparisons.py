"""What the trials of a comparison, or of trainings, have measured."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.client.states import REWARDED_STATES, TrialState
from paploss.controller.store.tables import Attempt, Trial
from paploss.jobs.documents import JsonObject
from paploss.jobs.spec import JobKind


class ComparedTrial(NamedTuple):
    """The columns of a trial that a comparison is made from: whole rows would bring every loss and all metrics."""

    label: str
    kind: JobKind
    state: TrialState
    seed: int
    learning_rate_factor: float
    reward: float | None
    diverged: bool
    total_iterations: int | None
    """None before it has started."""


def read_compared_trials(session: Session, experiment_id: str) -> Mapping[str, list[ComparedTrial]]:
    """By label, in the order of their numbers."""
    columns = [getattr(Trial, name) for name in ComparedTrial._fields]
    by_label: dict[str, list[ComparedTrial]] = defaultdict(list)
    rows = select(*columns).where(Trial.experiment_id == experiment_id).order_by(Trial.number)
    for row in session.execute(rows):
        by_label[row.label].append(ComparedTrial(*row))
    return by_label


def read_losses(session: Session, experiment_id: str) -> Mapping[str, JsonObject]:
    """By label: what all trials of a label share, read from its first."""
    first = select(func.min(Trial.number)).where(Trial.experiment_id == experiment_id).group_by(Trial.label)
    its = (Trial.experiment_id == experiment_id, Trial.number.in_(first))
    rows = session.execute(select(Trial.label, Trial.loss).where(*its))
    return {label: loss for label, loss in rows if loss is not None}


def read_environments(session: Session, experiment_id: str) -> Sequence[dict[str, str]]:
    """The environments of the trainings that count, each distinct one once."""
    found = session.scalars(
        select(Attempt.environment)
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(Trial.experiment_id == experiment_id, Trial.kind != "rate_check", Attempt.outcome.in_(REWARDED_STATES))
        .order_by(Trial.number)
    ).all()
    distinct = {tuple(sorted(environment.items())): environment for environment in found}
    return list(distinct.values())
