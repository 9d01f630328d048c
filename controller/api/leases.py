"""The worker protocol over HTTP; `jobs/lease.py` says what its messages mean.

The answer to a claim or a result may free or need a trial, so the leader is asked to look at once.
"""

from fastapi import APIRouter

from controller.api import problems
from controller.api.services import Injected
from controller.loop import leases
from jobs.lease import Accepted, ClaimRequest, Lease, ReleaseRequest, RenewReply, RenewRequest, ResultRequest

router = APIRouter(prefix="/api/v1/leases", tags=["worker protocol"], responses=problems.documented(404, 409, 410))


@router.post("/claim")
def claim(request: ClaimRequest, services: Injected) -> Lease:
    """Claim a trial. 404 and 410: drop its queue entry; 409: another attempt holds it, or its search is paused."""
    return leases.claim(services.database, services.settings, request)


@router.post("/renew")
def renew(request: RenewRequest, services: Injected) -> RenewReply:
    """Keep the lease and report progress. 409 and 410: end the training, the trial is another's or has ended."""
    return leases.renew(services.database, services.settings, request)


@router.post("/result")
def deliver(request: ResultRequest, services: Injected) -> Accepted:
    """Deliver the result. 409: another attempt had claimed the trial; the result is kept for audit, not counted."""
    accepted = leases.finish(services.database, request)
    services.driver.wake()
    return accepted


@router.post("/release")
def release(request: ReleaseRequest, services: Injected) -> Accepted:
    """Hand the trial back, with a checkpoint in the state volume where there is one."""
    accepted = leases.release(services.database, request)
    services.driver.wake()
    return accepted
