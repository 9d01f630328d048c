"""From the trials of a training request to its comparison."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.client.comparison import Comparison, RateResult
from paploss.client.states import OPEN_TRIAL_STATES, TrialState
from paploss.controller.comparison import Measured, compare
from paploss.controller.loop.jobs import parse_training
from paploss.controller.store.models import Attempt, Search, Trial
from paploss.jobs.losses import LossSpec, parse_loss
from paploss.jobs.spec import JobKind


def read_comparison(session: Session, training: Search) -> Comparison:
    """The losses of a training request beside each other, as far as they have got."""
    spec = parse_training(training)
    trials = _read_trials(session, training)
    losses = _read_losses(session, training)
    measured = [_measure(choice.label, losses[choice.label], trials[choice.label]) for choice in spec.losses]
    return Comparison(
        profile=spec.profile,
        dataset=spec.dataset.name,
        split=spec.evaluate_split,
        schedule=spec.schedule,
        seeds=spec.seeds,
        reference=spec.reference_label,
        rows=compare(measured, spec.reference_label, spec.profile),
        environments=_environments(session, training),
    )


class _Trial(NamedTuple):
    label: str
    kind: JobKind
    state: TrialState
    seed: int
    learning_rate_factor: float
    reward: float | None
    diverged: bool


def _read_trials(session: Session, training: Search) -> Mapping[str, list[_Trial]]:
    """By label; whole rows would bring every trial's loss and metrics."""
    columns = [getattr(Trial, name) for name in _Trial._fields]
    by_label: dict[str, list[_Trial]] = defaultdict(list)
    for row in session.execute(select(*columns).where(Trial.search_id == training.id).order_by(Trial.number)):
        by_label[row.label].append(_Trial(*row))
    return by_label


def _read_losses(session: Session, training: Search) -> Mapping[str, LossSpec]:
    """By label: what the first trial of each has, as all its others do."""
    first = select(func.min(Trial.number)).where(Trial.search_id == training.id).group_by(Trial.label)
    rows = session.execute(
        select(Trial.label, Trial.loss).where(Trial.search_id == training.id, Trial.number.in_(first))
    )
    return {label: parse_loss(loss, strict=False) for label, loss in rows}


def _measure(label: str, loss: LossSpec, trials: Sequence[_Trial]) -> Measured:
    checks = [trial for trial in trials if trial.kind == "rate_check"]
    trainings = [trial for trial in trials if trial.kind != "rate_check"]
    return Measured(
        label=label,
        loss=loss,
        rewards={trial.seed: trial.reward for trial in trainings if trial.reward is not None},
        failed=[trial.seed for trial in trainings if trial.reward is None and trial.state not in OPEN_TRIAL_STATES],
        diverged=[trial.seed for trial in trainings if trial.diverged],
        learning_rate_factor=trainings[0].learning_rate_factor if trainings else None,
        rate_check=[RateResult(factor=trial.learning_rate_factor, ap=trial.reward) for trial in checks],
    )


def _environments(session: Session, training: Search) -> tuple[dict[str, str], ...]:
    """What the trainings that count ran with, each distinct one once."""
    found = session.scalars(
        select(Attempt.environment)
        .join(Trial, Trial.id == Attempt.trial_id)
        .where(Trial.search_id == training.id, Trial.kind != "rate_check", Attempt.outcome.in_(("succeeded", "pruned")))
        .order_by(Trial.number)
    ).all()
    distinct = {tuple(sorted(environment.items())): environment for environment in found}
    return tuple(distinct.values())
