"""What workers tell beside a trial's state: who they are, and what they measured. Telling it again is harmless."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from controller.store.database import now, table_of
from controller.store.models import Evaluation, Worker
from jobs.lease import WorkerInfo
from jobs.spec import EvaluationEvent


def remember_worker(session: Session, worker: WorkerInfo) -> None:
    """Note a worker as it introduces itself, and that it was here now."""
    values = {
        "name": worker.name,
        "host": worker.host,
        "gpus": worker.gpus,
        "device": worker.device,
        "versions": worker.versions,
    }
    statement = _insert(session, Worker).values(**values)
    session.execute(statement.on_conflict_do_update(index_elements=["name"], set_={**values, "last_seen_at": now()}))


def keep_evaluations(session: Session, trial_id: str, evaluations: Sequence[EvaluationEvent]) -> None:
    """Store what is not stored yet: each renewal brings all of them, and a resumed training measures some again."""
    if not evaluations:
        return
    rows = [
        {
            "trial_id": trial_id,
            "iteration": evaluation.iteration,
            "total_iterations": evaluation.total_iterations,
            "ap": evaluation.metrics.ap,
            "metrics": evaluation.metrics.model_dump(mode="json"),
        }
        for evaluation in evaluations
    ]
    session.execute(_insert(session, Evaluation).on_conflict_do_nothing(), rows)


def _insert(session: Session, table: type[Worker] | type[Evaluation]) -> Any:
    """An INSERT that can say ON CONFLICT; both dialects have the same method for it."""
    dialect = session.get_bind().dialect.name
    return sqlite.insert(table_of(table)) if dialect == "sqlite" else postgresql.insert(table_of(table))
