"""The lease protocol, as the API serves it: each call is one transaction, of one step or of many workers' steps."""

import logging
from collections.abc import Sequence

from paploss.controller.experiments.jobs import build_job
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database, Session
from paploss.controller.store.errors import ConflictError, LateResultError
from paploss.controller.store.trials import claims, leases, renewals, results
from paploss.controller.store.trials.steps import Grant
from paploss.jobs.lease import (
    PROTOCOL,
    Accepted,
    ClaimRequest,
    Lease,
    ReleaseRequest,
    RenewReply,
    RenewRequest,
    ResultRequest,
    oldest_reader,
)
from paploss.jobs.metrics import name_reward
from paploss.jobs.spec import JobSpec

logger = logging.getLogger(__name__)


def claim(database: Database, settings: Settings, request: ClaimRequest, protocol: int = PROTOCOL) -> Lease:
    """Grant a trial to a worker that speaks a version of the protocol.

    Raises as `paploss.controller.store.trials.leases.claim`: each of its errors is final. So is that of a trial
    from which this version can make no job, for instance of a profile that an upgrade has removed or is about to add:
    after a 500 one worker after the other would claim it again. An older worker that would not train the job as it says
    is refused too, and the trial waits for a newer one.
    """
    with database.write() as session:
        grant = leases.claim(session, request, settings.lease_seconds)
        job = _make_job(session, grant, request, protocol)
    return _tell_claimed(settings, grant, job, request)


def claim_many(
    database: Database, settings: Settings, asked: Sequence[tuple[ClaimRequest, int]]
) -> Sequence[Lease | None]:
    """Grant what can be granted at once, on PostgreSQL; None for each claim that is left to `claim`.

    Raises:
        ConflictError: from one of the trials no job can be made for its worker; no claim is granted.
    """
    with database.write() as session:
        grants = claims.claim_many(session, [request for request, _ in asked], settings.lease_seconds)
        jobs = [
            None if grant is None else _make_job(session, grant, *each)
            for grant, each in zip(grants, asked, strict=True)
        ]
    return [
        None if grant is None or job is None else _tell_claimed(settings, grant, job, request)
        for grant, job, (request, _) in zip(grants, jobs, asked, strict=True)
    ]


def renew(database: Database, settings: Settings, request: RenewRequest) -> RenewReply:
    """Renew a lease. Raises as `paploss.controller.store.trials.leases.renew`."""
    with database.write() as session:
        return RenewReply(command=leases.renew(session, request, settings.lease_seconds))


def renew_many(database: Database, settings: Settings, asked: Sequence[RenewRequest]) -> Sequence[RenewReply | None]:
    """Renew what can be renewed at once, on PostgreSQL; None for each renewal that is left to `renew`."""
    with database.write() as session:
        commands = renewals.renew_many(session, asked, settings.lease_seconds)
    return [None if command is None else RenewReply(command=command) for command in commands]


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


def finish_many(database: Database, asked: Sequence[ResultRequest]) -> Sequence[Accepted | None]:
    """Store what can be stored at once, on PostgreSQL; None for each result that is left to `finish`.

    Raises:
        ConflictError: one of them cannot be stored as it is; none is.
    """
    with database.write() as session:
        states = results.finish_many(session, asked)
    return [None if state is None else Accepted(state=state) for state in states]


def release(database: Database, request: ReleaseRequest) -> Accepted:
    """Release a lease. Raises as `paploss.controller.store.trials.leases.release`."""
    with database.write() as session:
        return Accepted(state=leases.release(session, request))


def _make_job(session: Session, grant: Grant, request: ClaimRequest, protocol: int) -> JobSpec:
    try:
        job = build_job(session, grant)
    except ValueError as error:
        message = f"this version of the controller can make no job of trial {grant.trial_id}: {error}"
        logger.error(message)
        raise ConflictError(message) from error
    if protocol < (needed := oldest_reader(job)):
        message = (
            f"trial {grant.trial_id} needs a worker of protocol {needed} or newer for its loss, its reward "
            f"({name_reward(job.reward)}) or its length ({job.length:g}), and {request.worker.name} speaks {protocol}: "
            "upgrade the worker"
        )
        logger.warning(message)
        raise ConflictError(message)
    return job


def _tell_claimed(settings: Settings, grant: Grant, job: JobSpec, request: ClaimRequest) -> Lease:
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
