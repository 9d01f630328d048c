"""The time that workers have spent on the trials of an experiment or a project, whatever came of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, case, func, select
from sqlalchemy.orm import Session

from paploss.controller.store.database import now, table_of
from paploss.controller.store.tables import Attempt, Experiment, Trial
from paploss.jobs.spec import JobKind

_TRIALS, _ATTEMPTS, _EXPERIMENTS = table_of(Trial), table_of(Attempt), table_of(Experiment)
_ITS = _TRIALS.c.experiment_id == bindparam("experiment_id")
_OF_PROJECT = _EXPERIMENTS.c.project == bindparam("project")
_GPUS = case((_EXPERIMENTS.c.gpus > 1, _EXPERIMENTS.c.gpus), else_=1)  # as `count_gpus` has it


def _seconds_until(end: ColumnElement[float]) -> ColumnElement[float]:
    """Since an attempt was claimed; 0 where the clock was set back beyond that, or it would pay for others."""
    seconds = end - _ATTEMPTS.c.claimed_at
    return case((seconds > 0, seconds), else_=0.0)


_ENDED_SECONDS = _seconds_until(_ATTEMPTS.c.ended_at)
_ALL_SECONDS = _seconds_until(func.coalesce(_ATTEMPTS.c.ended_at, now()))
_OF_TRIALS = _ATTEMPTS.join(_TRIALS, _TRIALS.c.id == _ATTEMPTS.c.trial_id)
_OF_EXPERIMENTS = _OF_TRIALS.join(_EXPERIMENTS, _EXPERIMENTS.c.id == _TRIALS.c.experiment_id)


def _total(seconds: ColumnElement[float]) -> ColumnElement[float]:
    return func.coalesce(func.sum(seconds), 0.0)


_TRIALS_ENDED = func.count(_ATTEMPTS.c.trial_id.distinct())
_HAS_ENDED = _ATTEMPTS.c.ended_at.is_not(None)
_OF_KIND = _TRIALS.c.kind == bindparam("kind")
_ENDED = select(_total(_ENDED_SECONDS), _TRIALS_ENDED).select_from(_OF_TRIALS).where(_ITS, _OF_KIND, _HAS_ENDED)
_ALL = select(_total(_ALL_SECONDS)).select_from(_OF_TRIALS).where(_ITS)
_PROJECT_ENDED = select(_total(_ENDED_SECONDS * _GPUS)).select_from(_OF_EXPERIMENTS).where(_OF_PROJECT, _HAS_ENDED)
_PROJECTS_ALL = (
    select(_EXPERIMENTS.c.project, _total(_ALL_SECONDS * _GPUS))
    .select_from(_OF_EXPERIMENTS)
    .where(_EXPERIMENTS.c.project.in_(bindparam("projects", expanding=True)))
    .group_by(_EXPERIMENTS.c.project)
)


def count_gpus(gpus: int) -> int:
    """What a trial of a resource class counts as; one without a GPU as with one."""
    return max(gpus, 1)


class Spending(NamedTuple):
    """Of the attempts that have ended: failed, cancelled and preempted ones count like others."""

    seconds: float
    """All together."""
    trials: int
    """That they belong to."""

    @property
    def mean_seconds(self) -> float | None:
        """Of one trial; None where none has ended, or none has taken any time."""
        return self.seconds / self.trials if self.seconds > 0 else None


def read_spending(session: Session, experiment_id: str, kind: JobKind) -> Spending:
    """What the ended attempts of an experiment's trials of one kind have cost."""
    return Spending(*session.execute(_ENDED, {"experiment_id": experiment_id, "kind": kind}).one())


def estimate_trial_seconds(session: Session, experiment_id: str, spent: Spending) -> float | None:
    """How long an experiment's trials of one kind take, of what they have `spent`; None where that is unknown.

    Until one has ended, the checks of learning rates say so: they are as long as proxies.
    """
    return spent.mean_seconds or read_spending(session, experiment_id, "rate_check").mean_seconds


def read_spent_seconds(session: Session, experiment_id: str) -> float:
    """The time of all attempts, that of running ones until now."""
    return float(session.execute(_ALL, {"experiment_id": experiment_id}).scalar_one())


def read_ended_gpu_seconds(session: Session, project: str) -> float:
    """The GPU-seconds of the ended attempts of a project's trials."""
    return float(session.execute(_PROJECT_ENDED, {"project": project}).scalar_one())


def read_gpu_seconds(session: Session, projects: Sequence[str]) -> Mapping[str, float]:
    """The GPU-seconds of all attempts of projects' trials, those of running ones until now; none of one without any."""
    return dict(session.execute(_PROJECTS_ALL, {"projects": list(projects)}).all())
