"""Signing in to the page with an API key, or with a one-time code from `paploss up`, and out again."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from paploss.controller.api.pages.pages import pages
from paploss.controller.api.security.access import AuthorizedRoute, check_same_origin, session_cookie
from paploss.controller.api.services import Injected, Services
from paploss.controller.store.access.keys import find_key
from paploss.controller.store.access.sign_ins import create_session, end_session, use_code
from paploss.controller.store.access.tokens import TOKEN_PREFIX
from paploss.controller.store.tables import ApiKey

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False)

Secret = Annotated[str, Form(max_length=200)]


@router.get("/sign-in")
def show_form(services: Injected, next: Annotated[str, Query(max_length=500)] = "/") -> HTMLResponse:  # noqa: A002
    """The form. A code in the address's fragment is sent by the page's script."""
    return show(services, next)


@router.post("/sign-in")
def sign_in(
    request: Request,
    services: Injected,
    key: Secret = "",
    code: Secret = "",
    next: Annotated[str, Form(max_length=500)] = "/",  # noqa: A002 (the customary name)
) -> Response:
    """Open a session for this browser."""
    check_same_origin(request)  # else another site could sign a user in under another key (login CSRF)
    if key.strip().startswith(TOKEN_PREFIX):
        return show(services, next, "This is a token, which is for programs; sign in with an API key.", 401)
    with services.database.write() as session:
        owner: ApiKey | None = use_code(session, code) if code else find_key(session, key.strip())
        if owner is None:
            failed = "This one-time address was used or has expired." if code else "This is not a valid API key."
            return show(services, next, failed, 401)
        if owner.role == "worker":
            return show(services, next, "This is a worker's key; it opens no pages.", 403)
        name = owner.name
    response = RedirectResponse(to_local(next), 303)
    open_session(request, response, services, name)
    return response


@router.post("/sign-out")
def sign_out(request: Request, services: Injected) -> RedirectResponse:
    """End this browser's session."""
    secret = request.cookies.get(session_cookie(request))
    if secret is not None:
        with services.database.write() as session:
            end_session(session, secret)
        services.callers.forget()
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(session_cookie(request), path="/", httponly=True, samesite="strict")
    return response


def open_session(request: Request, response: Response, services: Services, owner: str) -> None:
    """Give the browser a session of a key's owner, as a cookie of this response."""
    seconds = services.settings.session_seconds
    with services.database.write() as session:
        secret = create_session(session, owner, seconds)
    response.set_cookie(
        session_cookie(request),
        secret,
        max_age=int(seconds),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def show(services: Services, target: str, error: str = "", status: int = 200) -> HTMLResponse:
    """The form, with what went wrong."""
    single_sign_on = services.single_sign_on
    page = pages.render(
        "sign_in.html",
        caller=None,
        next=to_local(target),
        error=error,
        provider=single_sign_on and single_sign_on.home,
    )
    return HTMLResponse(page, status)


def to_local(target: str) -> str:
    """A path of this controller; anything that could lead elsewhere becomes the start page."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_local else "/"
