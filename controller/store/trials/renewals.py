"""Renewals of many leases in one transaction of PostgreSQL: one statement for each table, whatever their number.

They take the ordinary ones. A renewal that is anything else (refused, of an expired lease, with new evaluations, of a
row that another transaction holds) is left to `paploss.controller.store.trials.leases.renew`. A locked row is passed
over and never waited for, so two such transactions cannot block each other.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, Float, Integer, Text, bindparam, cast, column, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import TableValuedAlias

from paploss.controller.store.database import now, table_of
from paploss.controller.store.tables import Attempt, Evaluation, Experiment, Trial, Worker
from paploss.jobs.lease import Command, RenewRequest

_TRIALS, _ATTEMPTS, _WORKERS, _EVALUATIONS = (table_of(model) for model in (Trial, Attempt, Worker, Evaluation))

_JUST_SECONDS = 1.0
"""A worker that was seen within this time is not updated again."""


def _told(**types: Any) -> TableValuedAlias:
    """What the renewals say, as rows: each column is an array parameter of the statement."""
    arrays = [bindparam(f"told_{name}", type_=ARRAY(kind)) for name, kind in types.items()]
    return func.unnest(*arrays).table_valued(*(column(name, kind) for name, kind in types.items())).render_derived()


def _build_renew() -> Any:
    told = _told(trial_id=Text, fence=Text, reached=Integer, total=Integer, its_loss=Float)
    is_held = (_TRIALS.c.id == told.c.trial_id) & (_TRIALS.c.token == told.c.fence) & (_TRIALS.c.state == "running")
    free = select(_TRIALS.c.id).join(told, is_held).with_for_update(key_share=True, skip_locked=True, of=_TRIALS).cte()
    seen_at = select(_WORKERS.c.last_seen_at).where(_WORKERS.c.name == _TRIALS.c.worker).scalar_subquery()
    its_experiment, its_attempt = table_of(Experiment), _ATTEMPTS
    return (
        update(_TRIALS)
        .where(is_held, _TRIALS.c.id.in_(select(free.c.id)))
        .values(
            lease_until=now() + bindparam("lease_seconds", type_=Float),
            started_at=func.coalesce(_TRIALS.c.started_at, now()),
            iteration=func.coalesce(told.c.reached, _TRIALS.c.iteration),
            total_iterations=func.coalesce(told.c.total, _TRIALS.c.total_iterations),
            progress_loss=func.coalesce(told.c.its_loss, _TRIALS.c.progress_loss),
        )
        .returning(
            _TRIALS.c.id,
            _TRIALS.c.attempt,
            _TRIALS.c.worker,
            select(its_experiment.c.state)
            .where(its_experiment.c.id == _TRIALS.c.experiment_id)
            .scalar_subquery()
            .label("experiment_state"),
            select(its_attempt.c.started_at)
            .where(its_attempt.c.trial_id == _TRIALS.c.id, its_attempt.c.number == _TRIALS.c.attempt)
            .scalar_subquery()
            .label("attempt_started_at"),
            (now() - seen_at).label("worker_unseen_seconds"),
        )
    )


def _build_note() -> Any:
    told = _told(trial_id=Text, number=Integer, environment=Text, warnings=Text, resumed=Integer, tail=Text)
    kept = tuple_(cast(_ATTEMPTS.c.environment, Text), cast(_ATTEMPTS.c.warnings, Text), _ATTEMPTS.c.resumed_iteration)
    is_new = told.c.environment.is_not(None) & kept.is_distinct_from(
        tuple_(told.c.environment, func.coalesce(told.c.warnings, cast(_ATTEMPTS.c.warnings, Text)), told.c.resumed)
    )
    return (
        update(_ATTEMPTS)
        .where(
            _ATTEMPTS.c.trial_id == told.c.trial_id,
            _ATTEMPTS.c.number == told.c.number,
            or_(_ATTEMPTS.c.started_at.is_(None), told.c.tail.is_not(None), is_new),
        )
        .values(
            started_at=func.coalesce(_ATTEMPTS.c.started_at, now()),
            environment=func.coalesce(cast(told.c.environment, JSON), _ATTEMPTS.c.environment),
            warnings=func.coalesce(cast(told.c.warnings, JSON), _ATTEMPTS.c.warnings),
            resumed_iteration=func.coalesce(told.c.resumed, _ATTEMPTS.c.resumed_iteration),
            log_tail=func.coalesce(told.c.tail, _ATTEMPTS.c.log_tail),
        )
    )


def _build_see() -> Any:
    told = _told(name=Text, gpu_use=Text)
    free = (
        select(_WORKERS.c.name)
        .join(told, _WORKERS.c.name == told.c.name)
        .with_for_update(key_share=True, skip_locked=True, of=_WORKERS)
        .cte()
    )
    return (
        update(_WORKERS)
        .where(_WORKERS.c.name == told.c.name, _WORKERS.c.name.in_(select(free.c.name)))
        .values(last_seen_at=now(), gpu_use=func.coalesce(cast(told.c.gpu_use, JSON), _WORKERS.c.gpu_use))
    )


_RENEW, _NOTE, _SEE = _build_renew(), _build_note(), _build_see()
_STORED = select(_EVALUATIONS.c.trial_id, _EVALUATIONS.c.iteration).where(
    _EVALUATIONS.c.trial_id == func.any(bindparam("trial_ids", type_=ARRAY(Text)))
)


def renew_many(session: Session, requests: Sequence[RenewRequest], lease_seconds: float) -> list[Command | None]:
    """Renew what can be renewed at once; returns what each worker is to do, None for what is left to `leases.renew`.

    `session`: of `Database.write()` of a PostgreSQL; on an exception nothing is changed.
    """
    known = _stored_evaluations(session, requests)
    taken: dict[str, RenewRequest] = {}
    for request in requests:
        if {each.iteration for each in request.evaluations} <= known.get(request.trial_id, set()):
            taken.setdefault(request.trial_id, request)
    rows = {}
    if taken:
        told = [
            (
                each.trial_id,
                each.token,
                progress and progress.iteration,
                progress and progress.total_iterations,
                progress and progress.loss,
            )
            for each in taken.values()
            for progress in (each.progress,)
        ]
        names = ("trial_id", "fence", "reached", "total", "its_loss")
        found = session.execute(_RENEW, _columns(names, told) | {"lease_seconds": lease_seconds})
        rows = {row.id: row for row in found}
    _note_attempts(session, [(taken[trial_id], row) for trial_id, row in rows.items()])
    _see_workers(session, [(taken[trial_id], row) for trial_id, row in rows.items()])
    return [
        ("pause" if rows[each.trial_id].experiment_state == "paused" else "continue")
        if each.trial_id in rows and taken[each.trial_id] is each
        else None
        for each in requests
    ]


def _stored_evaluations(session: Session, requests: Sequence[RenewRequest]) -> dict[str, set[int]]:
    """Iterations of the stored evaluations of each trial that has told of some."""
    asked = [each.trial_id for each in requests if each.evaluations]
    known: dict[str, set[int]] = {}
    if asked:
        for trial_id, iteration in session.execute(_STORED, {"trial_ids": asked}):
            known.setdefault(trial_id, set()).add(iteration)
    return known


def _note_attempts(session: Session, renewed: Sequence[tuple[RenewRequest, Any]]) -> None:
    told = [
        (
            each.trial_id,
            row.attempt,
            start and json.dumps(start.environment),
            (start and start.warnings and json.dumps(start.warnings)) or None,
            start and start.resumed_iteration,
            each.log_tail or None,
        )
        for each, row in renewed
        for start in (each.start,)
        if start is not None or each.log_tail or row.attempt_started_at is None
    ]
    if told:
        session.execute(_NOTE, _columns(("trial_id", "number", "environment", "warnings", "resumed", "tail"), told))


def _see_workers(session: Session, renewed: Sequence[tuple[RenewRequest, Any]]) -> None:
    told: dict[str, str | None] = {}
    for each, row in renewed:
        unseen_seconds = row.worker_unseen_seconds
        if each.gpu_use:
            told[row.worker] = json.dumps([gpu.model_dump(mode="json") for gpu in each.gpu_use])
        elif unseen_seconds is None or not 0 <= unseen_seconds < _JUST_SECONDS:
            told.setdefault(row.worker, None)
    if told:
        session.execute(_SEE, _columns(("name", "gpu_use"), list(told.items())))


def _columns(names: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, Any]:
    return {f"told_{name}": list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
