"""Who may do what: the one table of roles, and who a request comes from.

A program sends `Authorization: Bearer <key>`. A browser signs in with a key and then sends a session cookie; since a
browser sends cookies whichever page makes it ask, a request that changes something must also come from a page of this
origin (the cookie is SameSite=Strict too: two independent defences).
"""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from controller.api.problems import ProblemError
from controller.store.keys import find_key
from controller.store.models import ApiKey, Role
from controller.store.sign_ins import find_session

SESSION_COOKIE = "paploss_session"

READERS: frozenset[Role] = frozenset({"viewer", "user", "admin"})
EDITORS: frozenset[Role] = frozenset({"user", "admin"})
ADMINS: frozenset[Role] = frozenset({"admin"})
WORKERS: frozenset[Role] = frozenset({"worker"})
"""A worker's key sits in every pod, beside code from data scientists: it opens the lease protocol and nothing else."""

ROLES: dict[str, frozenset[Role]] = {
    "POST /api/v1/searches": EDITORS,
    "GET /api/v1/searches": READERS,
    "GET /api/v1/searches/{search_id}": READERS,
    "DELETE /api/v1/searches/{search_id}": ADMINS,
    "POST /api/v1/searches/{search_id}/pause": EDITORS,
    "POST /api/v1/searches/{search_id}/resume": EDITORS,
    "POST /api/v1/searches/{search_id}/cancel": EDITORS,
    "GET /api/v1/searches/{search_id}/best": READERS,
    "GET /api/v1/searches/{search_id}/trials": READERS,
    "GET /api/v1/searches/{search_id}/trials.csv": READERS,
    "GET /api/v1/searches/{search_id}/rounds": READERS,
    "GET /api/v1/searches/{search_id}/log": READERS,
    "GET /api/v1/searches/{search_id}/events": READERS,
    "GET /api/v1/searches/{search_id}/figures/{name}": READERS,
    "POST /api/v1/trainings": EDITORS,
    "GET /api/v1/trainings": READERS,
    "GET /api/v1/trainings/{search_id}": READERS,
    "GET /api/v1/trials/{trial_id}": READERS,
    "GET /api/v1/trials/{trial_id}/figures/{name}": READERS,
    "GET /api/v1/workers": READERS,
    "GET /api/v1/status": READERS,
    "POST /api/v1/leases/claim": WORKERS,
    "POST /api/v1/leases/renew": WORKERS,
    "POST /api/v1/leases/result": WORKERS,
    "POST /api/v1/leases/release": WORKERS,
    "POST /api/v1/keys": ADMINS,
    "GET /api/v1/keys": ADMINS,
    "DELETE /api/v1/keys/{name}": ADMINS,
    "GET /": READERS,
    "GET /searches/{search_id}": READERS,
    "GET /trainings": READERS,
    "GET /trainings/{search_id}": READERS,
    "GET /trials/{trial_id}": READERS,
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
        "GET /static/{name}",
        "GET /docs",
        "GET /openapi.json",
    }
)
"""Routes for everyone, with a key or without."""


@dataclass(frozen=True)
class Caller:
    """Who a request comes from."""

    name: str
    role: Role


def authorize(request: Request) -> Caller | None:
    """Let the request through, or refuse it by the table above. Runs before every handler; none for open routes.

    Raises:
        ProblemError: 401 without a valid key or session, 403 with one that may not do this.
    """
    operation = f"{request.method} {request.scope['route'].path}"
    if operation in OPEN:
        return None
    caller = identify(request)
    if caller is None:
        raise ProblemError(
            401,
            "expected a valid API key as 'Authorization: Bearer <key>', or a signed-in browser",
            headers={"WWW-Authenticate": "Bearer"},
        )
    able = ROLES.get(operation, frozenset())
    if caller.role not in able:
        raise ProblemError(
            403,
            f"{operation} is for the roles {', '.join(sorted(able))}; key {caller.name!r} has the role {caller.role}",
        )
    return caller


def identify(request: Request) -> Caller | None:
    """The owner of the request's key or session, none without a valid one.

    Keys and session secrets are looked up by their SHA-256: what a comparison's duration could tell is about the
    digest of a guess, from which nothing about the secret follows.
    """
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    secret = request.cookies.get(SESSION_COOKIE)
    if scheme:
        if scheme.lower() != "bearer":
            return None
        with request.app.state.services.database.read() as session:
            return _caller(find_key(session, credentials.strip()))
    if secret is None:
        return None
    check_same_origin(request)
    with request.app.state.services.database.read() as session:
        return _caller(find_session(session, secret))


def check_same_origin(request: Request) -> None:
    """Refuse a browser's changing request that another site's page has made.

    Raises:
        ProblemError: 403, the Origin header is missing or another.
    """
    if request.method in {"GET", "HEAD"}:
        return
    origin = request.headers.get("origin", "")
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise ProblemError(403, f"Origin: expected a page of this controller, got {origin or 'none'}")


def _caller(key: ApiKey | None) -> Caller | None:
    return None if key is None else Caller(key.name, key.role)


SignedIn = Annotated[Caller, Depends(authorize)]
"""Parameter of a handler that needs to know who asks."""
