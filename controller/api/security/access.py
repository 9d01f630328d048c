"""Authorization: the table of roles, and the caller of a request.

A program sends `Authorization: Bearer <key or token>`. A browser signs in with a key and then sends a session cookie;
since a browser sends cookies whichever site causes the request, a request that changes something must also come from a
page of this origin (the cookie is SameSite=Strict too: two independent defences).
"""

import math
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from paploss.client.states import Role
from paploss.controller.api.problems import ProblemError
from paploss.controller.api.security.callers import Caller, Callers
from paploss.controller.api.security.rates import RateLimit
from paploss.controller.api.services import get_services

SESSION_COOKIE = "paploss_session"

READERS: frozenset[Role] = frozenset({"viewer", "user", "admin"})
EDITORS: frozenset[Role] = frozenset({"user", "admin"})
ADMINS: frozenset[Role] = frozenset({"admin"})
WORKERS: frozenset[Role] = frozenset({"worker"})
"""A worker's key sits in every pod, beside code from data scientists: it opens the lease protocol and nothing else."""

ROLES: dict[str, frozenset[Role]] = {
    "POST /api/v1/experiments": EDITORS,
    "POST /api/v1/experiments/estimate": EDITORS,
    "GET /api/v1/experiments": READERS,
    "GET /api/v1/experiments/{experiment_id}": READERS,
    "PATCH /api/v1/experiments/{experiment_id}": EDITORS,
    "DELETE /api/v1/experiments/{experiment_id}": ADMINS,
    "POST /api/v1/experiments/{experiment_id}/pause": EDITORS,
    "POST /api/v1/experiments/{experiment_id}/resume": EDITORS,
    "POST /api/v1/experiments/{experiment_id}/cancel": EDITORS,
    "GET /api/v1/experiments/{experiment_id}/dump": ADMINS,
    "POST /api/v1/experiments/load": ADMINS,
    "GET /api/v1/experiments/{experiment_id}/best": READERS,
    "GET /api/v1/experiments/{experiment_id}/trials": READERS,
    "GET /api/v1/experiments/{experiment_id}/trials.csv": READERS,
    "GET /api/v1/experiments/{experiment_id}/rounds": READERS,
    "GET /api/v1/experiments/{experiment_id}/log": READERS,
    "GET /api/v1/experiments/{experiment_id}/events": READERS,
    "GET /api/v1/experiments/{experiment_id}/comparison": READERS,
    "GET /api/v1/experiments/{experiment_id}/comparison.csv": READERS,
    "GET /api/v1/experiments/{experiment_id}/figures/{name}": READERS,
    "GET /api/v1/experiments/{experiment_id}/detections": READERS,
    "GET /api/v1/experiments/{experiment_id}/thumbnails/{digest}": READERS,
    "GET /api/v1/figures/{name}": READERS,
    "GET /api/v1/trials/{trial_id}": READERS,
    "PATCH /api/v1/trials/{trial_id}": EDITORS,
    "POST /api/v1/trials/{trial_id}/cancel": EDITORS,
    "GET /api/v1/trials/{trial_id}/figures/{name}": READERS,
    "GET /api/v1/trials/{trial_id}/detections": READERS,
    "GET /api/v1/workers": READERS,
    "GET /api/v1/status": READERS,
    "GET /metrics": READERS,
    "POST /api/v1/leases/claim": WORKERS,
    "POST /api/v1/leases/renew": WORKERS,
    "POST /api/v1/leases/result": WORKERS,
    "POST /api/v1/leases/release": WORKERS,
    "POST /api/v1/leases/files": WORKERS,
    "POST /api/v1/keys": ADMINS,
    "GET /api/v1/keys": ADMINS,
    "DELETE /api/v1/keys/{name}": ADMINS,
    "POST /api/v1/projects": ADMINS,
    "GET /api/v1/projects": READERS,
    "PUT /api/v1/projects/{name}": ADMINS,
    "DELETE /api/v1/projects/{name}": ADMINS,
    "POST /api/v1/subscriptions": EDITORS,
    "GET /api/v1/subscriptions": READERS,
    "DELETE /api/v1/subscriptions/{subscription_id}": EDITORS,
    "POST /api/v1/subscriptions/{subscription_id}/pause": EDITORS,
    "POST /api/v1/subscriptions/{subscription_id}/resume": EDITORS,
    "POST /api/v1/subscriptions/{subscription_id}/test": EDITORS,
    "GET /api/v1/subscriptions/{subscription_id}/deliveries": READERS,
    "POST /api/v1/tokens": READERS,
    "GET /api/v1/tokens": READERS,
    "DELETE /api/v1/tokens/{token_id}": READERS,
    "GET /": READERS,
    "GET /experiments/new": EDITORS,
    "POST /experiments/new": EDITORS,
    "GET /experiments/{experiment_id}": READERS,
    "POST /experiments/{experiment_id}/annotation": EDITORS,
    "POST /experiments/{experiment_id}/{follow_up}": EDITORS,
    "POST /experiments/selected": EDITORS,
    "GET /experiments/{experiment_id}/explore": READERS,
    "GET /compare": READERS,
    "GET /trainings": READERS,
    "GET /trials/{trial_id}": READERS,
    "POST /trials/{trial_id}/annotation": EDITORS,
    "GET /tokens": READERS,
    "POST /tokens": READERS,
    "GET /subscriptions": READERS,
    "POST /subscriptions": EDITORS,
    "GET /subscriptions/{subscription_id}": READERS,
    "POST /subscriptions/{subscription_id}/{action}": EDITORS,
    "GET /projects": READERS,
    "POST /projects": ADMINS,
    "GET /words": READERS,
    "GET /workers": READERS,
    "POST /sign-out": READERS,
}
"""Method and path of every route that needs a key, with the roles that may use it."""

OPEN = frozenset(
    {
        "GET /healthz",
        "GET /readyz",
        "GET /sign-in",
        "POST /sign-in",
        "GET /sign-in/sso",
        "GET /sign-in/sso/callback",
        "GET /sign-out/sso",
        "GET /static/{name}",
        "GET /docs",
        "GET /openapi.json",
    }
)
"""Routes without authentication."""


NOT_WITH_TOKENS = frozenset(
    {
        "POST /api/v1/keys",
        "POST /api/v1/tokens",
        "POST /tokens",
        "POST /api/v1/subscriptions",
        "POST /subscriptions",
    }
)
"""What gives access that would outlive the token: a key or a signed-in browser is needed for it."""


UNCOUNTED = frozenset({"GET /healthz", "GET /readyz"})
"""Probes, whose rate is not limited: a kubelet would take a 429 for a failure."""


class AuthorizedRoute(APIRoute):
    """A route that authorizes the caller by the table of roles before the request's body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, with the check before it."""
        handle = self.make_handler()

        async def handle_authorized(request: Request) -> Response:
            await authorize(request)
            return await handle(request)

        return handle_authorized

    def make_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that runs after authorization: FastAPI's, unless a subclass has its own."""
        return super().get_route_handler()


async def authorize(request: Request) -> None:
    """Check the caller against the table of roles and set `request.state.caller`.

    Raises:
        ProblemError: 401 without a valid key or session, 403 with one that may not do this, 429 for too many requests.
    """
    services = await get_services(request)
    operation = f"{request.method} {request.scope['route'].path}"
    rates = services.rates
    address = request.client.host if request.client else ""
    if operation in OPEN:
        if operation not in UNCOUNTED:
            _count(rates.anonymous, address)
        return
    caller = await identify(request, services.callers)
    if caller is None:
        _count(rates.anonymous, address)
        raise ProblemError(
            401,
            "expected a valid API key as 'Authorization: Bearer <key>', or a signed-in browser",
            headers={"WWW-Authenticate": "Bearer"},
        )
    request.state.caller = caller
    _count(rates.workers if caller.role == "worker" else rates.callers, caller.name)
    able = ROLES.get(operation, frozenset())
    if caller.role not in able:
        raise ProblemError(
            403,
            f"{operation} is for the roles {', '.join(sorted(able))}; "
            f"{_name_credentials(caller)} has the role {caller.role}",
        )
    if caller.token_id is not None and operation in NOT_WITH_TOKENS:
        raise ProblemError(403, f"{operation} needs an API key or a signed-in browser, not a token")


def session_cookie(request: Request) -> str:
    """Name of the cookie of a browser's session: with the port, which browsers do not tell cookies apart by. Two
    controllers on one machine would sign each other's users out."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"{SESSION_COOKIE}_{port}" if port.isdecimal() else SESSION_COOKIE


async def identify(request: Request, callers: Callers) -> Caller | None:
    """The owner of the request's key or session; None without a valid one."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme:
        return await callers.find_by_key(credentials.strip()) if scheme.lower() == "bearer" else None
    secret = request.cookies.get(session_cookie(request))
    if secret is None:
        return None
    check_same_origin(request)
    return await callers.find_by_session(secret)


def check_same_origin(request: Request) -> None:
    """Refuse a changing request of a browser that comes from another site (CSRF).

    Raises:
        ProblemError: 403, the Origin header is missing or another.
    """
    if request.method in {"GET", "HEAD"}:
        return
    origin = request.headers.get("origin", "")
    try:
        host = urlsplit(origin).netloc
    except ValueError:  # no address at all, e.g. an opened bracket
        host = ""
    if not host or host != request.headers.get("host"):
        raise ProblemError(403, f"Origin: expected a page of this controller, got {origin or 'none'}")


def _name_credentials(caller: Caller) -> str:
    return f"key {caller.name!r}" if caller.token_id is None else f"token {caller.token_id} of {caller.name!r}"


def _count(limit: RateLimit, name: str) -> None:
    wait_seconds = limit.admit(name, time.monotonic())
    if wait_seconds > 0:
        raise ProblemError(
            429,
            f"too many requests from {name!r}; try again in {wait_seconds:.1f} s",
            headers={"Retry-After": str(math.ceil(wait_seconds))},
        )


async def _get_caller(request: Request) -> Caller:  # asynchronous, or FastAPI would call it in a thread
    caller: Caller = request.state.caller
    return caller


SignedIn = Annotated[Caller, Depends(_get_caller)]
"""Parameter of a handler that needs the caller."""
