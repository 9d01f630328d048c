"""Claims of many trials in one transaction of PostgreSQL.

They take the ordinary ones. A claim that is anything else (refused, repeated, of an experiment or a project with a cap
of running trials, of a row that another transaction holds) is left to `paploss.controller.store.trials.leases.claim`.
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from paploss.controller.store.trials.lease_statements import ADD_ATTEMPT, GRANT
from paploss.controller.store.trials.steps import Grant, claim_values, describe_attempt, read_grant, was_just_seen
from paploss.controller.store.trials.telemetry import remember_workers
from paploss.jobs.lease import ClaimRequest


def claim_many(session: Session, requests: Sequence[ClaimRequest], lease_seconds: float) -> list[Grant | None]:
    """Grant what can be granted at once; None for what is left to `leases.claim`.

    `session`: of `Database.write()` of a PostgreSQL; on an exception nothing is changed.
    """
    taken: dict[str, ClaimRequest] = {}
    for request in {each.claim_id: each for each in requests}.values():
        taken.setdefault(request.trial_id, request)
    given = GRANT.fields.many(claim_values(each, lease_seconds) for each in taken.values())
    rows = session.execute(GRANT.many, given).all() if taken else []
    granted = [(taken[row.trial_id], read_grant(row)) for row in rows]
    unseen = [taken[row.trial_id].worker for row in rows if not was_just_seen(row.worker_unseen_seconds)]
    if granted:
        session.execute(ADD_ATTEMPT, [describe_attempt(request, grant) for request, grant in granted])
    remember_workers(session, unseen)
    by_request = {id(request): grant for request, grant in granted}
    return [by_request.get(id(request)) for request in requests]
