"""From a request to an experiment."""

import json

from paploss.client.documents import SPEC
from paploss.client.specs import ExperimentSpec
from paploss.controller.experiments.kinds import KINDS
from paploss.controller.store.database import Session
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.experiments import Idempotency, add_experiment, find_known, remember
from paploss.controller.store.projects import hold_project
from paploss.controller.store.tables import Experiment
from paploss.controller.store.trials.quotas import check_gpu_budget
from paploss.controller.store.visibility import project_of


def create(session: Session, spec: ExperimentSpec, owner: str, idempotency: Idempotency | None = None) -> Experiment:
    """Store an experiment of the session's project, running, with the trials that its request gives; the leader takes
    over from there.

    Raises:
        NotFoundError: the request names an experiment that does not exist in this project; there is no such project.
        ConflictError: it names one whose loss does not fit; the idempotency key was used for another request; the
            stored request would not be the one that was asked for; or the project has used its GPU-hours.
    """
    if (known := find_known(session, owner, idempotency)) is not None:
        return known
    _check_survives(spec)
    project = hold_project(session, project_of(session))
    check_gpu_budget(session, project.name)
    kind = KINDS[spec.kind]
    experiment = add_experiment(
        session,
        spec,
        owner,
        stage=kind.first_stage(spec),
        planned=kind.count_planned(spec),
        rounds=kind.count_rounds(spec),
    )
    kind.open(session, experiment, spec)
    remember(session, experiment, idempotency)
    return experiment


def _check_survives(spec: ExperimentSpec) -> None:
    """Refuse here what no later reader of the stored document could make sense of."""
    try:
        restored = SPEC.read(json.loads(json.dumps(SPEC.write(spec), allow_nan=False)))
    except ValueError as error:
        raise ConflictError(f"the request does not survive its own JSON: {error}") from error
    if restored != spec:
        raise ConflictError("the request does not survive its own JSON: it reads as another one")
