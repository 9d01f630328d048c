"""What workers report beside a trial's state: who they are, and what they measured. All of it is idempotent."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from paploss.controller.store.database import now, table_of
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.tables import Evaluation, Worker
from paploss.jobs.lease import GpuUse, WorkerInfo
from paploss.jobs.metrics import Metrics
from paploss.jobs.spec import MOST_EVALUATIONS, EvaluationEvent

MOST_CLASS_APS: Final = 200_000
"""Of one trial, over all its evaluations: its page reads all of them. 80 classes have 2,000 evaluations."""

_WORKERS, _EVALUATIONS = table_of(Worker), table_of(Evaluation)
_TOLD = ("host", "gpus", "device", "versions")


def _remembering(insert: Any) -> Any:
    statement = insert(_WORKERS)
    told = {name: statement.excluded[name] for name in _TOLD}
    return statement.on_conflict_do_update(index_elements=["name"], set_={**told, "last_seen_at": now()})


# Built once for each dialect: both have ON CONFLICT, but SQLAlchemy has no common construct for it.
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_REMEMBER = {dialect: _remembering(insert) for dialect, insert in _INSERTS.items()}
_KEEP = {dialect: insert(_EVALUATIONS).on_conflict_do_nothing() for dialect, insert in _INSERTS.items()}
_STORED = select(_EVALUATIONS.c.iteration).where(_EVALUATIONS.c.trial_id == bindparam("trial"))
_SEE = update(_WORKERS).where(_WORKERS.c.name == bindparam("worker")).values(last_seen_at=now())
_SEE_GPUS = _SEE.values(gpu_use=bindparam("its_gpu_use", type_=_WORKERS.c.gpu_use.type))


def remember_worker(session: Session, worker: WorkerInfo) -> None:
    """Store a worker as it describes itself, with the current time as its heartbeat."""
    told = {name: getattr(worker, name) for name in ("name", *_TOLD)}
    session.execute(_REMEMBER[session.get_bind().dialect.name], told)


def see_worker(session: Session, name: str, gpu_use: Sequence[GpuUse]) -> None:
    """Store a worker's heartbeat, and the use of its GPUs where it is reported."""
    if gpu_use:
        use = [gpu.model_dump(mode="json") for gpu in gpu_use]
        session.execute(_SEE_GPUS, {"worker": name, "its_gpu_use": use})
    else:
        session.execute(_SEE, {"worker": name})


def keep_evaluations(session: Session, trial_id: str, evaluations: Sequence[EvaluationEvent]) -> None:
    """Store what is not stored yet: each renewal brings all of them, and a resumed training measures some again.

    Beyond MOST_CLASS_APS per-class values of a trial, evaluations are stored without theirs.

    Raises:
        ConflictError: the trial would have more than MOST_EVALUATIONS.
    """
    if not evaluations:
        return
    stored = set(session.scalars(_STORED, {"trial": trial_id}))
    new = [each for each in evaluations if each.iteration not in stored]
    if not new:
        return
    if len(stored) + len(new) > MOST_EVALUATIONS:
        raise ConflictError(f"trial {trial_id}: expected at most {MOST_EVALUATIONS} evaluations of one training")
    rows = [
        {
            "trial_id": trial_id,
            "iteration": evaluation.iteration,
            "total_iterations": evaluation.total_iterations,
            "ap": evaluation.metrics.ap if evaluation.reward is None else evaluation.reward,
            "metrics": _cut(evaluation.metrics, number).model_dump(mode="json"),
        }
        for number, evaluation in enumerate(new, start=len(stored) + 1)
    ]
    session.execute(_KEEP[session.get_bind().dialect.name], rows)


def _cut(metrics: Metrics, number: int) -> Metrics:
    """The metrics of a trial's evaluation of that number, without APs by class where those so far are too many."""
    return (
        metrics if number * len(metrics.per_class) <= MOST_CLASS_APS else metrics.model_copy(update={"per_class": {}})
    )
