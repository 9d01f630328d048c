"""The lease protocol, as the API serves it: each call is one transaction."""

import logging

from controller.loop.jobs import build_job, fix_prune_points
from controller.settings import Settings
from controller.store import transitions
from controller.store.database import Database
from controller.store.errors import LateResultError
from jobs.lease import Accepted, ClaimRequest, Lease, ReleaseRequest, RenewReply, RenewRequest, ResultRequest

logger = logging.getLogger(__name__)


def claim(database: Database, settings: Settings, request: ClaimRequest) -> Lease:
    """Grant a trial to a worker. Raises as `transitions.claim`: each of its errors is a definite answer."""
    with database.write() as session:
        search, trial, attempt = transitions.claim(session, request, settings.lease_seconds)
        fix_prune_points(session, search, trial)
        lease = Lease(
            trial_id=trial.id,
            attempt=attempt.number,
            token=attempt.token,
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.renew_seconds,
            job=build_job(search, trial),
        )
    fields = {"search": search.id, "trial": trial.id, "attempt": attempt.number, "worker": request.worker.name}
    logger.info("claimed", extra=fields)
    return lease


def renew(database: Database, settings: Settings, request: RenewRequest) -> RenewReply:
    """Prolong a lease. Raises as `transitions.renew`."""
    with database.write() as session:
        return RenewReply(command=transitions.renew(session, request, settings.lease_seconds))


def finish(database: Database, request: ResultRequest) -> Accepted:
    """Take a result. Raises as `transitions.finish`; a late result is kept for audit before the refusal."""
    try:
        with database.write() as session:
            return Accepted(state=transitions.finish(session, request))
    except LateResultError as late:
        with database.write() as session:
            transitions.keep_late_result(session, request, late.attempt, str(late))
        raise


def release(database: Database, request: ReleaseRequest) -> Accepted:
    """Take a lease back. Raises as `transitions.release`."""
    with database.write() as session:
        return Accepted(state=transitions.release(session, request))
