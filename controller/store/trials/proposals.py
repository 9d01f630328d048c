"""New trials, with all that they train with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from paploss.controller.store.database import table_of
from paploss.controller.store.documents import LOSS, PLAN, TrialPlan
from paploss.controller.store.tables import Experiment, Trial
from paploss.jobs.documents import JsonObject
from paploss.jobs.ids import make_trial_id
from paploss.jobs.losses import LossSpec
from paploss.jobs.spec import JobKind

_ADD = insert(table_of(Trial))


@dataclass(frozen=True, kw_only=True)
class NewTrial:
    """A trial to be queued: what it trains with, and what it is for."""

    kind: JobKind
    loss: LossSpec
    seed: int
    plan: TrialPlan
    label: str = ""
    learning_rate_factor: float = 1.0
    theta: list[float] | None = None
    round: int | None = None
    index: int | None = None
    length: float = 1.0
    derived_from: str | None = None


def add_trials(session: Session, experiment: Experiment, trials: Sequence[NewTrial]) -> None:
    """Queue trials with the experiment's next numbers; the caller holds its row lock, or has just created it."""
    written: dict[int, JsonObject] = {}  # trials share objects, and writing one costs more than storing a row
    for trial in trials:
        if id(trial.loss) not in written:
            written[id(trial.loss)] = LOSS.write(trial.loss)
        if id(trial.plan) not in written:
            written[id(trial.plan)] = PLAN.write(trial.plan)
    rows = [
        {
            "id": make_trial_id(experiment.id, number),
            "experiment_id": experiment.id,
            "number": number,
            "kind": trial.kind,
            "label": trial.label,
            "theta": trial.theta,
            "loss": written[id(trial.loss)],
            "seed": trial.seed,
            "learning_rate_factor": trial.learning_rate_factor,
            "plan": written[id(trial.plan)],
            "length": trial.length,
            "derived_from": trial.derived_from,
            "round": trial.round,
            "index": trial.index,
        }
        for number, trial in enumerate(trials, start=experiment.next_number)
    ]
    if rows:
        session.execute(_ADD, rows)
        experiment.next_number += len(rows)


def list_first(session: Session, experiment_id: str, kind: JobKind, count: int) -> Sequence[Trial]:
    """An experiment's first trials of one kind, by number."""
    its = (Trial.experiment_id == experiment_id, Trial.kind == kind)
    return session.scalars(select(Trial).where(*its).order_by(Trial.number).limit(count)).all()


def trials_by_label(session: Session, experiment_id: str, kind: JobKind) -> Mapping[str, list[Trial]]:
    """An experiment's trials of one kind by label, in the order of their numbers."""
    by_label: dict[str, list[Trial]] = {}
    for trial in session.scalars(
        select(Trial).where(Trial.experiment_id == experiment_id, Trial.kind == kind).order_by(Trial.number)
    ):
        by_label.setdefault(trial.label, []).append(trial)
    return by_label
