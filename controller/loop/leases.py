"""The lease protocol, as the API serves it: each call is one transaction."""

import logging

from paploss.controller.experiments.jobs import build_job
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError, LateResultError
from paploss.controller.store.trials import leases
from paploss.jobs.lease import (
    Accepted,
    ClaimRequest,
    Lease,
    ReleaseRequest,
    RenewReply,
    RenewRequest,
    ResultRequest,
    understands,
)
from paploss.jobs.metrics import name_reward

logger = logging.getLogger(__name__)


def claim(database: Database, settings: Settings, request: ClaimRequest, protocol: int) -> Lease:
    """Grant a trial to a worker; `protocol`: the version that it has named.

    Raises as `paploss.controller.store.trials.leases.claim`: each of its errors is final. So is that of a trial
    from which this version can make no job, for instance of a profile that an upgrade has removed or is about to add:
    after a 500 one worker after the other would claim it again. And so is that of a worker that would measure another
    reward than the one that is asked for.
    """
    with database.write() as session:
        grant = leases.claim(session, request, settings.lease_seconds)
        try:
            job = build_job(session, grant)
        except ValueError as error:
            message = f"this version of the controller can make no job of trial {grant.trial_id}: {error}"
            logger.error(message)
            raise ConflictError(message) from error
        if not understands(job, protocol):
            raise ConflictError(
                f"trial {grant.trial_id} is for newer workers: this one knows no reward but AP, and this trial's is "
                f"{name_reward(job.reward)}"
            )
    fields = {"experiment": grant.experiment_id, "trial": grant.trial_id, "attempt": grant.attempt}
    logger.info("claimed", extra=fields | {"worker": request.worker.name})
    return Lease(
        trial_id=grant.trial_id,
        attempt=grant.attempt,
        token=grant.token,
        lease_seconds=settings.lease_seconds,
        renew_seconds=settings.renew_seconds,
        job=job,
    )


def renew(database: Database, settings: Settings, request: RenewRequest) -> RenewReply:
    """Renew a lease. Raises as `paploss.controller.store.trials.leases.renew`."""
    with database.write() as session:
        return RenewReply(command=leases.renew(session, request, settings.lease_seconds))


def finish(database: Database, request: ResultRequest) -> Accepted:
    """Store a result. Raises as `paploss.controller.store.trials.leases.finish`.

    A late result is kept for audit before the refusal.
    """
    try:
        with database.write() as session:
            return Accepted(state=leases.finish(session, request))
    except LateResultError as late:
        with database.write() as session:
            leases.keep_late_result(session, request, late.attempt, str(late))
        raise


def release(database: Database, request: ReleaseRequest) -> Accepted:
    """Release a lease. Raises as `paploss.controller.store.trials.leases.release`."""
    with database.write() as session:
        return Accepted(state=leases.release(session, request))
