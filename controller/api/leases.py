"""The worker protocol over HTTP; `jobs/lease.py` says what its messages mean.

The answer to a claim or a result may free or need a trial, so the leader is asked to look at once.

The answers are written out here: FastAPI would validate each of ours again, in a thread, for every renewal.
"""

from fastapi import APIRouter, Response

from controller.api import problems
from controller.api.access import GuardedRoute
from controller.api.services import Injected
from controller.loop import leases
from controller.store import retention
from jobs.lease import (
    Accepted,
    ClaimRequest,
    FilesReply,
    FilesRequest,
    Lease,
    ReleaseRequest,
    RenewReply,
    RenewRequest,
    ResultRequest,
)
from jobs.spec import Message

router = APIRouter(
    route_class=GuardedRoute,
    prefix="/api/v1/leases",
    tags=["worker protocol"],
    responses=problems.documented(404, 409, 410),
)


@router.post("/claim", response_model=Lease)
def claim(request: ClaimRequest, services: Injected) -> Response:
    """Claim a trial. 404 and 410: drop its queue entry; 409: another attempt holds it, or its search is paused."""
    return _answer(leases.claim(services.database, services.settings, request))


@router.post("/renew", response_model=RenewReply)
def renew(request: RenewRequest, services: Injected) -> Response:
    """Keep the lease and report progress. 409 and 410: end the training, the trial is another's or has ended."""
    return _answer(leases.renew(services.database, services.settings, request))


@router.post("/result", response_model=Accepted)
def deliver(request: ResultRequest, services: Injected) -> Response:
    """Deliver the result. 409: another attempt had claimed the trial; the result is kept for audit, not counted."""
    accepted = leases.finish(services.database, request)
    services.driver.wake()
    return _answer(accepted)


@router.post("/release", response_model=Accepted)
def release(request: ReleaseRequest, services: Injected) -> Response:
    """Hand the trial back, with a checkpoint in the state volume where there is one."""
    accepted = leases.release(services.database, request)
    services.driver.wake()
    return _answer(accepted)


@router.post("/files", response_model=FilesReply)
def find_needless_files(request: FilesRequest, services: Injected) -> Response:
    """Ask which trials' files in the state volume may be removed: those that ended `keep_files_days` ago."""
    with services.database.read() as session:
        found = retention.find_needless_files(session, request.trial_ids, services.settings.keep_files_days)
    return _answer(FilesReply(trial_ids=tuple(found)))


def _answer(message: Message) -> Response:
    return Response(message.model_dump_json(), media_type="application/json")
