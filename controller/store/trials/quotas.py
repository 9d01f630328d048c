"""What caps an experiment and its project: how many trials run at once, and GPU-hours in all.

Counted over whole projects, whoever asks: statements are on bare tables (see `paploss.controller.store.visibility`).
"""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from paploss.client.states import OPEN_TRIAL_STATES
from paploss.controller.store.database import is_one_of, table_of
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.tables import Experiment, Project, Trial
from paploss.controller.store.trials.spending import (
    count_gpus,
    estimate_trial_seconds,
    read_ended_gpu_seconds,
    read_spending,
)

_TRIALS, _EXPERIMENTS, _PROJECTS = (table_of(model) for model in (Trial, Experiment, Project))
_OF_TRIALS = _TRIALS.join(_EXPERIMENTS, _EXPERIMENTS.c.id == _TRIALS.c.experiment_id)
_IS_RUNNING = _TRIALS.c.state == "running"


def check_caps(session: Session, experiment: Experiment) -> bool:
    """Refuse one more running trial of an experiment where it or its project has as many as it may.

    Returns whether there is such a cap at all.

    Raises:
        ConflictError: names which.
    """
    # The row locks make concurrent claims count one after the other: the experiment's first, then the project's.
    if experiment.max_running_trials is not None:
        session.execute(select(Experiment.id).where(Experiment.id == experiment.id).with_for_update(key_share=True))
        if _count(session, _TRIALS.c.experiment_id == experiment.id) >= experiment.max_running_trials:
            raise ConflictError(f"experiment {experiment.id} has its {experiment.max_running_trials} running trials")
    project = session.get(Project, experiment.project)
    if project is not None and project.max_running_trials is not None:
        session.execute(select(Project.name).where(Project.name == project.name).with_for_update(key_share=True))
        if _count(session, _EXPERIMENTS.c.project == project.name) >= project.max_running_trials:
            raise ConflictError(f"the project {project.name!r} has its {project.max_running_trials} running trials")
    return experiment.max_running_trials is not None or (project is not None and project.max_running_trials is not None)


def count_running(session: Session) -> Mapping[str, int]:
    """Running trials by project, of those that have any."""
    counts = select(_EXPERIMENTS.c.project, func.count()).select_from(_OF_TRIALS).where(_IS_RUNNING)
    return dict(session.execute(counts.group_by(_EXPERIMENTS.c.project)).all())


def read_caps(session: Session) -> Mapping[str, int]:
    """How many trials may run at once, by project, of those with a limit."""
    capped = select(_PROJECTS.c.name, _PROJECTS.c.max_running_trials)
    return dict(session.execute(capped.where(_PROJECTS.c.max_running_trials.is_not(None))).all())


def read_gpu_budget(session: Session, project: str) -> float | None:
    """The GPU-hours that a project may use in all; None without a limit."""
    return session.execute(select(_PROJECTS.c.gpu_hours).where(_PROJECTS.c.name == project)).scalar_one_or_none()


def estimate_gpu_use(session: Session, project: str) -> float:
    """The GPU-seconds of a project's ended attempts, and those that its open trials are taken to need.

    Each as much as others of its kind in its experiment; nothing where none of them has ended.
    """
    its_open = (_EXPERIMENTS.c.project == project, is_one_of(_TRIALS.c.state, OPEN_TRIAL_STATES))
    is_live = _EXPERIMENTS.c.state.in_(("running", "paused"))  # no others have an open trial: fewer to look through
    columns = (_EXPERIMENTS.c.id, _EXPERIMENTS.c.gpus, _TRIALS.c.kind)
    open_trials = select(*columns, func.count()).select_from(_OF_TRIALS).where(*its_open, is_live).group_by(*columns)
    seconds = read_ended_gpu_seconds(session, project)
    for experiment_id, gpus, kind, count in session.execute(open_trials).all():
        spent = read_spending(session, experiment_id, kind)
        seconds += count * count_gpus(gpus) * (estimate_trial_seconds(session, experiment_id, spent) or 0)
    return seconds


def check_gpu_budget(session: Session, project: str) -> None:
    """Refuse a new experiment of a project that has used its GPU-hours.

    Raises:
        ConflictError: says how many those are.
    """
    hours = read_gpu_budget(session, project)
    if hours is not None and read_ended_gpu_seconds(session, project) >= 3600 * hours:
        raise ConflictError(f"the project {project!r} has used its {hours:g} GPU-hours; an administrator may give more")


def _count(session: Session, is_meant: ColumnElement[bool]) -> int:
    return session.execute(select(func.count()).select_from(_OF_TRIALS).where(_IS_RUNNING, is_meant)).scalar_one()
