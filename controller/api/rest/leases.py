"""The worker protocol over HTTP; `paploss/jobs/lease.py` says what its messages mean.

A claim or a result may make room for another trial, so it wakes the leader.

Messages are parsed and answers written here, by pydantic: FastAPI would first parse each body to a dictionary, resolve
dependencies, and validate each answer again. These routes are most of a controller's load.
"""

import asyncio
from collections.abc import Callable, Coroutine
from inspect import signature
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from paploss.controller.api import problems
from paploss.controller.api.problems import ProblemError
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
    """A route whose body is a message: its endpoint's `request`, handled in a thread."""

    def make_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Reads the message, hands it to the endpoint in a thread, and returns its answer."""
        endpoint = self.endpoint
        parameters = signature(endpoint).parameters
        message: type[Message] = parameters["request"].annotation

        async def handle(request: Request) -> Response:
            try:
                body = await request.body()
            except ClientDisconnect as error:  # a worker that was killed, for instance
                raise ProblemError(400, "the request's body ended too early") from error
            try:
                told = message.model_validate_json(body, extra="ignore")  # of a newer worker, perhaps
            except ValidationError as error:
                found = [each | {"loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
                raise RequestValidationError(found, body=body) from error
            protocol = read_protocol(request.headers)
            named = {"protocol": protocol} if "protocol" in parameters else {}
            answer = await asyncio.to_thread(endpoint, told, await get_services(request), **named)
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
def claim(request: ClaimRequest, services: Injected, protocol: NamedProtocol) -> Lease:
    """Claim a trial. 404 and 410: drop its queue entry; 409: another attempt holds it, or its search is paused."""
    return leases.claim(services.database, services.settings, request, protocol)


@router.post("/renew", response_model=RenewReply)
def renew(request: RenewRequest, services: Injected) -> RenewReply:
    """Renew the lease and report progress. 409 and 410: end the training; the trial is another's or has ended."""
    return leases.renew(services.database, services.settings, request)


@router.post("/result", response_model=Accepted)
def deliver(request: ResultRequest, services: Injected) -> Accepted:
    """Deliver the result. 409: another attempt had claimed the trial; the result is kept for audit, not counted."""
    accepted = leases.finish(services.database, request)
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
