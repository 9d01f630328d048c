"""The worker protocol over HTTP; `paploss/jobs/lease.py` says what its messages mean.

A claim or a result may make room for another trial, so it wakes the leader.

Messages are parsed and answers written here, by pydantic: FastAPI would first parse each body to a dictionary, resolve
dependencies, and validate each answer again. These routes are most of a controller's load.
"""

import asyncio
from collections.abc import Callable, Coroutine
from inspect import iscoroutinefunction, signature
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from paploss.controller.api import problems
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected, get_services
from paploss.controller.loop import leases
from paploss.controller.store import retention
from paploss.jobs.lease import (
    PROTOCOL,
    PROTOCOL_HEADER,
    Accepted,
    ClaimRequest,
    FilesReply,
    FilesRequest,
    Lease,
    ReleaseRequest,
    RenewReply,
    RenewRequest,
    ResultRequest,
    encode,
    read_protocol,
)
from paploss.jobs.messages import Message


def _named_protocol(request: Request) -> int:
    return read_protocol(request.headers)


NamedProtocol = Annotated[int, Depends(_named_protocol)]
"""The version of the protocol that the worker has named."""


class MessageRoute(AuthorizedRoute):
    """A route whose body is a message: its endpoint's `request`, handled in a thread if the endpoint is a function.

    An endpoint may have `protocol` too, the version that the worker speaks.
    """

    def make_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Reads the message, hands it to the endpoint, and returns its answer."""
        endpoint = self.endpoint
        parameters = signature(endpoint).parameters
        message: type[Message] = parameters["request"].annotation

        async def handle(request: Request) -> Response:
            body = await request.body()
            try:
                told = message.model_validate_json(body, extra="ignore")  # of a newer worker, perhaps
            except ValidationError as error:
                found = [each | {"loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
                raise RequestValidationError(found, body=body) from error
            protocol = read_protocol(request.headers)
            named = {"protocol": protocol} if "protocol" in parameters else {}
            services = await get_services(request)
            if iscoroutinefunction(endpoint):
                answer = await endpoint(told, services, **named)
            else:
                answer = await asyncio.to_thread(endpoint, told, services, **named)
            content = encode(answer, protocol)
            return Response(content, media_type="application/json", headers={PROTOCOL_HEADER: str(PROTOCOL)})

        return handle


router = APIRouter(
    route_class=MessageRoute,
    prefix="/api/v1/leases",
    tags=["worker protocol"],
    responses=problems.documented(404, 409, 410),
)


@router.post("/claim", response_model=Lease)
async def claim(request: ClaimRequest, services: Injected, protocol: NamedProtocol) -> Lease:
    """Claim a trial. 404 and 410: drop its queue entry; 409: another attempt holds it, its search is paused, or the
    worker is too old for its loss or its reward.
    """
    return await services.lease_steps.claims.ask((request, protocol))


@router.post("/renew", response_model=RenewReply)
async def renew(request: RenewRequest, services: Injected) -> RenewReply:
    """Renew the lease and report progress. 409 and 410: end the training; the trial is another's or has ended."""
    return await services.lease_steps.renewals.ask(request)


@router.post("/result", response_model=Accepted)
async def deliver(request: ResultRequest, services: Injected) -> Accepted:
    """Deliver the result. 409: another attempt had claimed the trial; the result is kept for audit, not counted."""
    accepted = await services.lease_steps.results.ask(request)
    services.driver.wake()
    return accepted


@router.post("/release", response_model=Accepted)
def release(request: ReleaseRequest, services: Injected) -> Accepted:
    """Release the trial, with a checkpoint in the state volume where there is one."""
    accepted = leases.release(services.database, request)
    services.driver.wake()
    return accepted


@router.post("/files", response_model=FilesReply)
def find_removable_files(request: FilesRequest, services: Injected) -> FilesReply:
    """Ask which trials' files in the state volume may be removed: those that ended `keep_files_days` ago."""
    with services.database.read() as session:
        found = retention.find_removable_files(session, request.trial_ids, services.settings.keep_files_days)
    return FilesReply(trial_ids=tuple(found))
