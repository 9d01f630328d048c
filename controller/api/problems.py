"""Every error as a problem document (RFC 9457, `application/problem+json`), naming the field where there is one."""

import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from paploss.client.specs import ExperimentSpec
from paploss.controller.data_roots import PathRefusedError
from paploss.controller.store.database import UNAVAILABLE, UNSTORABLE, VANISHED, WHY_UNSTORABLE
from paploss.controller.store.errors import ConflictError, DumpError, GoneError, NotFoundError, RightsError, SchemaError
from paploss.jobs.documents import UnreadableError
from paploss.jobs.faults import describe_fault, without_echoes
from paploss.jobs.queue import QueueError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY = {"Retry-After": "5"}
NO_DATABASE = "the database does not answer; try again shortly"
STATUSES: dict[type[Exception], int] = {
    NotFoundError: 404,
    ConflictError: 409,
    GoneError: 410,
    RightsError: 403,
    DumpError: 422,
    SchemaError: 503,
}
"""HTTP status of each error of the store."""


class FieldError(BaseModel):
    """One thing wrong with a request, and where."""

    location: str = Field(description="body, query, path or header")
    pointer: str = Field(
        description="JSON pointer (RFC 6901) to the field, e.g. /space/knots", examples=["/space/knots"]
    )
    message: str


class Problem(BaseModel):
    """What every error response carries."""

    type: str = Field("about:blank", description="about:blank: the title is that of the HTTP status")
    title: str
    status: int
    detail: str
    instance: str | None = Field(None, description="path of the request")
    errors: list[FieldError] = Field([], description="the fields at fault")


class ProblemError(Exception):
    """Raise it in a handler to answer with a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})


def field_error(location: str, path: Sequence[str | int], message: str) -> FieldError:
    """A `FieldError` from a path of keys and indices."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return FieldError(location=location, pointer="".join(f"/{part}" for part in escaped), message=message)


PageRenderer = Callable[[Request, Problem], Response]


def response(
    request: Request,
    status: int,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem as a response: a document, or a page where a person with a browser asked for one."""
    problem = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, instance=request.url.path, errors=list(errors)
    )
    if _wants_page(request):
        render: PageRenderer = request.app.state.render_problem
        return render(request, problem)
    content = problem.model_dump(mode="json", exclude_none=True)
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _wants_page(request: Request) -> bool:
    path = request.url.path
    return not path.startswith(("/api/", "/static/")) and "text/html" in request.headers.get("accept", "")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can answer with these statuses, as the OpenAPI document shows them."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted(statuses)
    }


def install(app: FastAPI, render_problem: PageRenderer) -> None:
    """Make `app` answer every error with a problem document, or with a page that `render_problem` makes."""
    app.state.render_problem = render_problem
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(PathRefusedError, _on_refused_path)
    app.add_exception_handler(ClientDisconnect, _on_broken_off)
    for refusal in STATUSES:
        app.add_exception_handler(refusal, _on_refusal)
    for trouble in UNAVAILABLE:
        app.add_exception_handler(trouble, _on_database_error)
    app.add_exception_handler(UNSTORABLE, _on_unstorable)
    app.add_exception_handler(VANISHED, _on_vanished)
    app.add_exception_handler(QueueError, _on_queue_error)
    app.add_exception_handler(UnreadableError, _on_unreadable)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for this class only
    return response(request, error.status, error.detail, errors=error.errors, headers=error.headers)


async def _on_refusal(request: Request, error: Exception) -> Response:
    status = next(status for refusal, status in STATUSES.items() if isinstance(error, refusal))
    return response(request, status, str(error))


async def _on_refused_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, PathRefusedError)  # noqa: S101 - registered for this class only
    errors = [field_error("body", field.split("."), fault) for field, fault in error.faults.items()]
    return response(request, 422, str(error), errors=errors)


async def _on_broken_off(request: Request, _error: Exception) -> Response:
    return response(request, 400, "the request's body ended too early")


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"there is nothing at {request.url.path}"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "other methods")
        detail = f"{request.method} is not possible here, {allowed} is"
    return response(request, error.status_code, detail, headers=error.headers)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    found = error.errors()
    broken = [item for item in found if item["type"] == "json_invalid"]
    if broken:
        position = broken[0]["loc"][-1]
        place = f" at character {position}" if isinstance(position, int) else ""  # else the reason names it
        reason = broken[0].get("ctx", {}).get("error", "syntax error")
        return response(request, 400, f"the body is not valid JSON: {reason}{place}")
    if isinstance(error.body, bytes) and any(item["loc"] == ("body",) for item in found):
        given = request.headers.get("content-type") or "none"
        return response(
            request, 422, f"the body is not read as JSON: expected Content-Type: application/json, got {given}"
        )
    errors = [_describe(item["loc"], item, error.body) for item in without_echoes(found)]
    detail = "; ".join(f"{item.pointer.lstrip('/') or item.location}: {item.message}" for item in errors[:3])
    if len(errors) > 3:
        detail += f"; and {len(errors) - 3} more"
    return response(request, 422, detail, errors=errors)


_NAMED_FIELD = re.compile(r"^([a-z_]+(?:\.[a-z_]+)*)(?:\[[^\]]*\])?: ")
"""How the models' own checks, which see several fields at once, begin their messages."""


def describe_errors(found: Sequence[Mapping[str, Any]], body: Any) -> list[FieldError]:
    """What pydantic's `ValidationError.errors()` found in a request's body."""
    return [_describe(("body", *item["loc"]), item, body) for item in without_echoes(found)]


def _describe(place: Sequence[str | int], item: Mapping[str, Any], body: Any) -> FieldError:
    """A sentence with the given value where it is short, so that users find it in their file."""
    location, *path = place
    if location == "body":
        path = _find_in(body, path, is_missing=item["type"] == "missing")
    message = describe_fault(item, ExperimentSpec)
    if item["type"].startswith("union_tag"):
        path += [str(item["ctx"]["discriminator"]).strip("'")]
    if item["type"] == "value_error" and (named := _NAMED_FIELD.match(message)):
        path += named[1].split(".")
        message = message[named.end() :]
    return field_error(str(location), path, message)


def _find_in(body: Any, path: Sequence[str | int], *, is_missing: bool) -> list[str | int]:
    """The path within the body: pydantic's also names the member of a union that was tried."""
    found: list[str | int] = []
    for index, key in enumerate(path):
        is_there = key in body if isinstance(body, dict) else isinstance(body, list) and key in range(len(body))
        if is_there:
            body = body[key]
        elif isinstance(body, dict) and not (is_missing and index == len(path) - 1):
            continue
        found.append(key)
    return found


async def _on_database_error(request: Request, error: Exception) -> Response:
    logger.error("%s %s: %s", request.method, request.url.path, error)
    return response(request, 503, NO_DATABASE, headers=RETRY)


async def _on_queue_error(request: Request, error: Exception) -> Response:
    logger.error("%s %s: %s", request.method, request.url.path, error)
    return response(request, 503, "Redis does not answer; try again shortly", headers=RETRY)


async def _on_unreadable(request: Request, error: Exception) -> Response:
    logger.warning("%s %s: %s", request.method, request.url.path, error)
    return response(request, 409, f"another version of the program has stored what is asked for: {error}")


async def _on_unstorable(request: Request, error: Exception) -> Response:
    logger.warning("%s %s: %s", request.method, request.url.path, error)
    return response(request, 422, f"a value of the request {WHY_UNSTORABLE}")


async def _on_vanished(request: Request, _error: Exception) -> Response:
    return response(request, 404, f"what {request.method} {request.url.path} would change was deleted at this moment")


def defect(request: Request, error: Exception) -> Response:
    """The answer to a request whose handler failed unexpectedly: a reference to the log, without details."""
    reference = secrets.token_hex(4)
    logger.error("defect %s in %s %s", reference, request.method, request.url.path, exc_info=error)
    return response(request, 500, f"a defect in the controller; its log has the details under {reference}")
