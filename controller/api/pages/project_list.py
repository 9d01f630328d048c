"""The page of projects: what each may use and has used; administrators make and change them."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from starlette.responses import Response

from paploss.client.projects import ProjectChange, ProjectRequest
from paploss.controller.api.pages.pages import pages
from paploss.controller.api.problems import ProblemError, describe_errors
from paploss.controller.api.rest import projects
from paploss.controller.api.security.access import AuthorizedRoute, SignedIn
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import Injected, Services
from paploss.controller.store.errors import NotFoundError

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False)

Text = Annotated[str, Form(max_length=20_000)]


@router.get("/projects")
def show(services: Injected, caller: SignedIn) -> HTMLResponse:
    """The projects that the caller sees, and for administrators a form."""
    return _render(services, caller)


@router.post("/projects")
def store(
    services: Injected,
    caller: SignedIn,
    *,
    name: Text = "",
    data_roots: Text = "",
    max_running_trials: Text = "",
    gpu_hours: Text = "",
) -> Response:
    """Make a project, or change what one of this name may use; or show the form again with its errors."""
    typed = {
        "name": name.strip(),
        "data_roots": data_roots.replace("\r\n", "\n").strip(),
        "max_running_trials": max_running_trials.strip(),
        "gpu_hours": gpu_hours.strip(),
    }
    document: dict[str, Any] = {key: value or None for key, value in typed.items()}
    document["data_roots"] = [line.strip() for line in typed["data_roots"].split("\n") if line.strip()]
    try:
        request = ProjectRequest.model_validate(document)
        try:
            projects.change(request.name, ProjectChange(**request.model_dump(exclude={"name"})), services)
        except NotFoundError:
            projects.create(request, services)
    except ValidationError as error:
        found = describe_errors(error.errors(), document)
    except ProblemError as error:
        found = list(error.errors)
    else:
        return RedirectResponse("/projects", 303)
    errors = {item.pointer.strip("/").partition("/")[0]: item.message for item in found}
    return _render(services, caller, typed=typed, errors=errors)


def _render(
    services: Services,
    caller: Caller,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> HTMLResponse:
    page = pages.render(
        "projects.html",
        caller=caller,
        section="Projects",
        typed=typed or {},
        errors=errors or {},
        projects=projects.list_all(services).items,
        data_roots=services.settings.data_roots,
    )
    return HTMLResponse(page, 422 if errors else 200)
