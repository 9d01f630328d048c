"""The routes of single sign-on: to the identity provider, back from it with a session as any other, and out there."""

import base64
import logging
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from starlette.responses import Response

from paploss.controller.api.pages.pages import pages
from paploss.controller.api.pages.sign_in import open_session, show, to_local
from paploss.controller.api.problems import ProblemError
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.security.single_sign_on import CALLBACK_PATH, Begun, SignOnError, SingleSignOn
from paploss.controller.api.services import Injected, Services
from paploss.controller.store.access.people import admit_person, refuse_person
from paploss.controller.store.errors import NotFoundError

logger = logging.getLogger(__name__)

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False)

COOKIE = "paploss_sso"
COOKIE_PATH = "/sign-in/sso"
COOKIE_SECONDS = 600


@router.get("/sign-in/sso")
def begin(services: Injected, next: Annotated[str, Query(max_length=500)] = "/") -> Response:  # noqa: A002
    """Send the browser to the identity provider."""
    single_sign_on = _configured(services)
    try:
        address, begun = single_sign_on.begin(to_local(next))
    except SignOnError as error:
        return _refuse(services, error)
    response = RedirectResponse(address, 303)
    response.set_cookie(
        COOKIE,
        base64.urlsafe_b64encode(begun.model_dump_json().encode()).decode(),
        max_age=COOKIE_SECONDS,
        path=COOKIE_PATH,
        secure=single_sign_on.home.startswith("https:"),
        httponly=True,
        samesite="lax",  # a strict one would not come along when another site sends the browser back
    )
    return response


@router.get(CALLBACK_PATH)
def finish(request: Request, services: Injected) -> Response:
    """Open a session for whom the identity provider vouches."""
    single_sign_on = _configured(services)
    try:
        begun = _read_cookie(request)
        person = single_sign_on.finish(begun, request.query_params)
        with services.database.write() as session:
            if person.role is None:
                refuse_person(session, person.subject)
                owner = None
            else:
                owner = admit_person(session, person.subject, person.name, person.role, person.project).name
        services.callers.forget()  # their role, or what they had open, may have changed
        if owner is None:
            raise SignOnError(f"{person.name}: none of your groups may use this controller.", 403)
    except NotFoundError as error:
        return _refuse(services, SignOnError(f"{person.name}: your group is for a project, and {error}.", 403))
    except SignOnError as error:
        return _refuse(services, error)
    # A redirect would still count as coming from the provider's site, and the browser keep the strict cookie back.
    response = HTMLResponse(pages.render("signed_in.html", caller=None, next=to_local(begun.target)))
    open_session(request, response, services, owner)
    response.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="lax")
    return response


@router.get("/sign-out/sso")
def end(services: Injected) -> Response:
    """Send the browser to where its session at the identity provider is ended."""
    try:
        address = _configured(services).logout_address()
    except SignOnError as error:
        return _refuse(services, error)
    return RedirectResponse(address or "/sign-in", 303)


def _configured(services: Services) -> SingleSignOn:
    if services.single_sign_on is None:
        raise ProblemError(404, "single sign-on is not configured (setting PAPLOSS_OIDC_ISSUER)")
    return services.single_sign_on


def _read_cookie(request: Request) -> Begun:
    try:
        return Begun.model_validate_json(base64.urlsafe_b64decode(request.cookies.get(COOKIE, "")))
    except (ValidationError, ValueError):
        raise SignOnError("This browser began no sign-in, or too long ago. Please sign in again.", 400) from None


def _refuse(services: Services, error: SignOnError) -> Response:
    logger.warning("single sign-on failed: %s", error)
    response = show(services, "/", str(error), error.status)
    response.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="lax")
    return response
