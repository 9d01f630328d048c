"""What workers report beside a trial's state: who they are, and what they measured. All of it is idempotent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from paploss.controller.store.database import INSERTS, now, table_of
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.tables import Evaluation, Worker
from paploss.jobs.lease import GpuUse, WorkerInfo
from paploss.jobs.metrics import Metrics
from paploss.jobs.spec import MOST_EVALUATIONS, EvaluationEvent

MOST_CLASS_APS: Final = 200_000
"""Of one trial, over all its evaluations: its page reads all of them. 80 classes have 2,000 evaluations."""

_WORKERS, _EVALUATIONS = table_of(Worker), table_of(Evaluation)
_SENT = ("host", "gpus", "device", "versions")


def _remembering(insert: Any) -> Any:
    statement = insert(_WORKERS)
    sent = {name: statement.excluded[name] for name in _SENT}
    return statement.on_conflict_do_update(index_elements=["name"], set_={**sent, "last_seen_at": now()})


# Built once for each dialect.
_REMEMBER = {dialect: _remembering(insert) for dialect, insert in INSERTS.items()}
_KEEP = {dialect: insert(_EVALUATIONS).on_conflict_do_nothing() for dialect, insert in INSERTS.items()}
_STORED = select(_EVALUATIONS.c.trial_id, _EVALUATIONS.c.iteration).where(
    _EVALUATIONS.c.trial_id.in_(bindparam("trial_ids", expanding=True))
)
_SEE = update(_WORKERS).where(_WORKERS.c.name == bindparam("worker")).values(last_seen_at=now())
_SEE_GPUS = _SEE.values(gpu_use=bindparam("its_gpu_use", type_=_WORKERS.c.gpu_use.type))


def remember_workers(session: Session, workers: Iterable[WorkerInfo]) -> None:
    """Store workers as they describe themselves, with the current time as their heartbeat."""
    by_name = {worker.name: worker for worker in workers}
    # In the order of their names: of two transactions with the same workers, the second waits for the first.
    sent = [{name: getattr(by_name[key], name) for name in ("name", *_SENT)} for key in sorted(by_name)]
    if sent:
        session.execute(_REMEMBER[session.get_bind().dialect.name], sent)


def see_worker(session: Session, name: str, gpu_use: Sequence[GpuUse]) -> None:
    """Store a worker's heartbeat, and the use of its GPUs where it is reported."""
    if gpu_use:
        use = [gpu.model_dump(mode="json") for gpu in gpu_use]
        session.execute(_SEE_GPUS, {"worker": name, "its_gpu_use": use})
    else:
        session.execute(_SEE, {"worker": name})


def keep_evaluations(session: Session, by_trial: Mapping[str, Sequence[EvaluationEvent]]) -> None:
    """Store what is not stored yet, by trial: a resumed training, a result and older workers tell some again.

    Beyond MOST_CLASS_APS per-class values of a trial, evaluations are stored without theirs.

    Raises:
        ConflictError: a trial would have more than MOST_EVALUATIONS.
    """
    measured = {trial_id: evaluations for trial_id, evaluations in by_trial.items() if evaluations}
    if not measured:
        return
    stored = find_stored(session, measured)
    rows = [row for trial_id, each in measured.items() for row in _new_rows(trial_id, each, stored[trial_id])]
    if rows:
        session.execute(_KEEP[session.get_bind().dialect.name], rows)


def find_stored(session: Session, trial_ids: Iterable[str]) -> Mapping[str, set[int]]:
    """Iterations of the stored evaluations of each trial."""
    stored: dict[str, set[int]] = {trial_id: set() for trial_id in trial_ids}
    for trial_id, iteration in session.execute(_STORED, {"trial_ids": list(stored)}):
        stored[trial_id].add(iteration)
    return stored


def _new_rows(trial_id: str, evaluations: Sequence[EvaluationEvent], stored: set[int]) -> list[dict[str, Any]]:
    new = [each for each in evaluations if each.iteration not in stored]
    if new and len(stored) + len(new) > MOST_EVALUATIONS:
        raise ConflictError(f"trial {trial_id}: expected at most {MOST_EVALUATIONS} evaluations of one training")
    return [
        {
            "trial_id": trial_id,
            "iteration": evaluation.iteration,
            "total_iterations": evaluation.total_iterations,
            "ap": evaluation.metrics.ap if evaluation.reward is None else evaluation.reward,
            "metrics": _cut(evaluation.metrics, number).model_dump(mode="json"),
        }
        for number, evaluation in enumerate(new, start=len(stored) + 1)
    ]


def _cut(metrics: Metrics, number: int) -> Metrics:
    """The metrics of a trial's evaluation of that number, without APs by class where those so far are too many."""
    return (
        metrics if number * len(metrics.per_class) <= MOST_CLASS_APS else metrics.model_copy(update={"per_class": {}})
    )
