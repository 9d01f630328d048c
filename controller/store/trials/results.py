"""Results of many trials in one transaction of PostgreSQL.

They take the ordinary ones: with a reward, the first of their attempt. A result that is anything else (failed, with an
analysis, repeated, late, of a row that another transaction holds) is left to
`paploss.controller.store.trials.leases.finish`.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from paploss.client.states import TrialState
from paploss.controller.store.events import record_many
from paploss.controller.store.trials.lease_statements import END_ATTEMPT, REWARD
from paploss.controller.store.trials.steps import attempt_end_values, describe_end, result_values
from paploss.controller.store.trials.telemetry import keep_evaluations
from paploss.jobs.lease import ResultRequest


def finish_many(session: Session, requests: Sequence[ResultRequest]) -> list[TrialState | None]:
    """Store what can be stored at once; returns the new states, None for what is left to `leases.finish`.

    `session`: of `Database.write()` of a PostgreSQL; on an exception nothing is changed.

    Raises:
        ConflictError: one of them has more evaluations than a trial may have.
    """
    taken: dict[str, ResultRequest] = {}
    for request in requests:
        if request.result.outcome != "failed" and request.analysis is None:
            taken.setdefault(request.trial_id, request)
    given = REWARD.fields.many(map(result_values, taken.values()))
    rows = session.execute(REWARD.many, given).all() if taken else []
    ended = [(taken[row.id], row) for row in rows]
    keep_evaluations(session, {each.trial_id: each.evaluations for each, _ in ended})
    record_many(session, [describe_end(each, row.experiment_id, row.worker) for each, row in ended])
    outcomes = {id(each): each.result.outcome for each, _ in ended}
    if ended:
        session.execute(END_ATTEMPT, [_end(each, row.attempt) for each, row in ended])
    return [outcomes.get(id(request)) for request in requests]


def _end(request: ResultRequest, attempt: int) -> dict[str, Any]:
    outcome = request.result.outcome
    return attempt_end_values(request, attempt, outcome=outcome, answer=outcome)
