"""Renewals of many leases in one transaction of PostgreSQL: one statement for each table, whatever their number.

They take the ordinary ones. A renewal that is anything else (refused, of an expired lease, with new evaluations, of a
row that another transaction holds) is left to `paploss.controller.store.trials.leases.renew`. A locked row is passed
over and never waited for, so two such transactions cannot block each other.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, Integer, Text, cast, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from paploss.controller.store.database import now, table_of
from paploss.controller.store.tables import Attempt, Worker
from paploss.controller.store.trials.fields import Fields
from paploss.controller.store.trials.lease_statements import RENEW
from paploss.controller.store.trials.steps import renewal_values, was_just_seen
from paploss.controller.store.trials.telemetry import find_stored
from paploss.jobs.lease import Command, RenewRequest

_ATTEMPTS, _WORKERS = table_of(Attempt), table_of(Worker)
_NOTED = Fields(trial_id=Text, number=Integer, environment=Text, warnings=Text, resumed=Integer, tail=Text)
_SEEN = Fields(name=Text, gpu_use=Text)


def _build_note() -> Any:
    _, step = _NOTED.rows()
    kept = tuple_(cast(_ATTEMPTS.c.environment, Text), cast(_ATTEMPTS.c.warnings, Text), _ATTEMPTS.c.resumed_iteration)
    is_new = step.environment.is_not(None) & kept.is_distinct_from(
        tuple_(step.environment, func.coalesce(step.warnings, cast(_ATTEMPTS.c.warnings, Text)), step.resumed)
    )
    return (
        update(_ATTEMPTS)
        .where(
            _ATTEMPTS.c.trial_id == step.trial_id,
            _ATTEMPTS.c.number == step.number,
            or_(_ATTEMPTS.c.started_at.is_(None), step.tail.is_not(None), is_new),
        )
        .values(
            started_at=func.coalesce(_ATTEMPTS.c.started_at, now()),
            environment=func.coalesce(cast(step.environment, JSON), _ATTEMPTS.c.environment),
            warnings=func.coalesce(cast(step.warnings, JSON), _ATTEMPTS.c.warnings),
            resumed_iteration=func.coalesce(step.resumed, _ATTEMPTS.c.resumed_iteration),
            log_tail=func.coalesce(step.tail, _ATTEMPTS.c.log_tail),
        )
    )


def _build_see() -> Any:
    table, step = _SEEN.rows()
    free = (
        select(_WORKERS.c.name)
        .join(table, _WORKERS.c.name == step.name)
        .with_for_update(key_share=True, skip_locked=True, of=_WORKERS)
        .cte()
    )
    return (
        update(_WORKERS)
        .where(_WORKERS.c.name == step.name, _WORKERS.c.name.in_(select(free.c.name)))
        .values(last_seen_at=now(), gpu_use=func.coalesce(cast(step.gpu_use, JSON), _WORKERS.c.gpu_use))
    )


_NOTE, _SEE = _build_note(), _build_see()


def renew_many(session: Session, requests: Sequence[RenewRequest], lease_seconds: float) -> list[Command | None]:
    """Renew what can be renewed at once; returns what each worker is to do, None for what is left to `leases.renew`.

    `session`: of `Database.write()` of a PostgreSQL; on an exception nothing is changed.
    """
    measured = [each.trial_id for each in requests if each.evaluations]
    known = find_stored(session, measured) if measured else {}
    taken: dict[str, RenewRequest] = {}
    for request in requests:
        if {each.iteration for each in request.evaluations} <= known.get(request.trial_id, set()):
            taken.setdefault(request.trial_id, request)
    given = RENEW.fields.many(renewal_values(each, lease_seconds) for each in taken.values())
    rows = {row.id: row for row in session.execute(RENEW.many, given)} if taken else {}
    renewed = [(taken[trial_id], row) for trial_id, row in rows.items()]
    _note_attempts(session, renewed)
    _see_workers(session, renewed)
    return [
        ("pause" if rows[each.trial_id].experiment_state == "paused" else "continue")
        if each.trial_id in rows and taken[each.trial_id] is each
        else None
        for each in requests
    ]


def _note_attempts(session: Session, renewed: Sequence[tuple[RenewRequest, Any]]) -> None:
    noted = [
        {
            "trial_id": each.trial_id,
            "number": row.attempt,
            "environment": start and json.dumps(start.environment),
            "warnings": (start and start.warnings and json.dumps(start.warnings)) or None,
            "resumed": start and start.resumed_iteration,
            "tail": each.log_tail or None,
        }
        for each, row in renewed
        for start in (each.start,)
        if start is not None or each.log_tail or row.attempt_started_at is None
    ]
    if noted:
        session.execute(_NOTE, _NOTED.many(noted))


def _see_workers(session: Session, renewed: Sequence[tuple[RenewRequest, Any]]) -> None:
    seen: dict[str, str | None] = {}
    for each, row in renewed:
        if each.gpu_use:
            seen[row.worker] = json.dumps([gpu.model_dump(mode="json") for gpu in each.gpu_use])
        elif not was_just_seen(row.worker_unseen_seconds):
            seen.setdefault(row.worker, None)
    if seen:
        session.execute(_SEE, _SEEN.many({"name": name, "gpu_use": use} for name, use in seen.items()))
