"""The page of personal access tokens. What is made is shown once, in the answer to the form."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from paploss.client.models import NewToken, TokenRequest
from paploss.controller.api.pages.pages import pages
from paploss.controller.api.problems import describe_errors
from paploss.controller.api.rest import tokens
from paploss.controller.api.security.access import AuthorizedRoute, SignedIn
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import Injected, Services
from paploss.controller.store.access.tokens import list_roles
from paploss.controller.store.errors import ConflictError, RightsError

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False)

Text = Annotated[str, Form(max_length=200)]


@router.get("/tokens")
def show(services: Injected, caller: SignedIn) -> HTMLResponse:
    """The form, and the caller's tokens, or for an administrator everybody's."""
    return _render(services, caller)


@router.post("/tokens")
def create(services: Injected, caller: SignedIn, name: Text = "", role: Text = "", days: Text = "") -> HTMLResponse:
    """Make a token and show it, or show the form again with its errors."""
    typed = {"name": name.strip(), "role": role, "days": days.strip()}
    try:
        made = tokens.create(TokenRequest.model_validate(typed), services, caller)
    except ValidationError as error:
        found = {item.pointer.strip("/"): item.message for item in describe_errors(error.errors(), typed)}
        return _render(services, caller, typed=typed, errors=found, status=422)
    except ConflictError as error:
        return _render(services, caller, typed=typed, errors={"name": str(error)}, status=409)
    except RightsError as error:
        return _render(services, caller, typed=typed, errors={"role": str(error)}, status=403)
    return _render(services, caller, made=made, status=201)


def _render(
    services: Services,
    caller: Caller,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    made: NewToken | None = None,
    status: int = 200,
) -> HTMLResponse:
    page = pages.render(
        "tokens.html",
        caller=caller,
        section="Tokens",
        typed=typed or {"name": "", "role": "viewer", "days": str(TokenRequest.model_fields["days"].default)},
        errors=errors or {},
        made=made,
        roles=list_roles(caller.role),
        tokens=tokens.list_all(services, caller, everyone=caller.role == "admin").items,
    )
    return HTMLResponse(page, status)
