"""What people add to experiments and trials. It changes nothing that runs."""

from sqlalchemy.orm import Session

from paploss.client.annotations import Annotation, ExperimentAnnotation
from paploss.client.states import FINAL_EXPERIMENT_STATES
from paploss.controller.store.database import read_clock
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.experiments import lock_experiment
from paploss.controller.store.reading.lists import get_trial
from paploss.controller.store.tables import Experiment, Trial


def annotate_experiment(session: Session, experiment_id: str, annotation: ExperimentAnnotation) -> Experiment:
    """Change note, tags and archive, as far as they are given.

    Raises:
        NotFoundError: no such experiment.
        ConflictError: it is to be archived and has not ended.
    """
    experiment = lock_experiment(session, experiment_id)
    if annotation.archived and experiment.state not in FINAL_EXPERIMENT_STATES:
        raise ConflictError(f"experiment {experiment_id} is {experiment.state}; what has ended can be archived")
    _annotate(experiment, annotation)
    if annotation.archived is not None and annotation.archived != (experiment.archived_at is not None):
        experiment.archived_at = read_clock(session) if annotation.archived else None
    session.flush()
    return experiment


def annotate_trial(session: Session, trial_id: str, annotation: Annotation) -> Trial:
    """Change note and tags, as far as they are given. A lease does not wait for it, nor it for a lease.

    Raises:
        NotFoundError: no such trial.
    """
    trial = get_trial(session, trial_id)
    _annotate(trial, annotation)
    session.flush()
    return trial


def _annotate(row: Experiment | Trial, annotation: Annotation) -> None:
    if annotation.note is not None:
        row.note = annotation.note
    if annotation.tags is not None:
        row.tags = list(annotation.tags) or None
