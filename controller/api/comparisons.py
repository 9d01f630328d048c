"""From the trials of a training request to its comparison."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.comparison import Measured, compare
from controller.comparison_report import Comparison
from controller.loop.jobs import parse_training
from controller.loop.trainings import rate_results
from controller.store.models import OPEN_TRIAL_STATES, Attempt, Search, Trial
from jobs.spec import LossSpec


def read_comparison(session: Session, training: Search) -> Comparison:
    """The losses of a training request beside each other, as far as they have got."""
    spec = parse_training(training)
    trials = session.scalars(select(Trial).where(Trial.search_id == training.id).order_by(Trial.number)).all()
    measured = [
        _measure(choice.label, [trial for trial in trials if trial.label == choice.label]) for choice in spec.losses
    ]
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


def _measure(label: str, trials: Sequence[Trial]) -> Measured:
    checks = [trial for trial in trials if trial.kind == "rate_check"]
    trainings = [trial for trial in trials if trial.kind != "rate_check"]
    return Measured(
        label=label,
        loss=LossSpec.model_validate(trials[0].loss),
        rewards={trial.seed: trial.reward for trial in trainings if trial.reward is not None},
        failed=[trial.seed for trial in trainings if trial.reward is None and trial.state not in OPEN_TRIAL_STATES],
        diverged=[trial.seed for trial in trainings if trial.diverged],
        learning_rate_factor=trainings[0].learning_rate_factor if trainings else None,
        rate_check=rate_results(checks),
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
