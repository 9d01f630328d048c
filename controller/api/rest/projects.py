"""Projects over HTTP: everybody sees what their own may use; administrators see, make and change all."""

from typing import Annotated

from fastapi import APIRouter, Path, status

from paploss.client.models import Page
from paploss.client.projects import ProjectChange, ProjectName, ProjectRequest, ProjectSummary
from paploss.controller.api import problems
from paploss.controller.api.problems import ProblemError, field_error
from paploss.controller.api.projects import project_summaries, project_summary
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected, Services
from paploss.controller.data_roots import PathRefusedError, check_roots
from paploss.controller.store import projects as store

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1/projects", tags=["projects"])

Name = Annotated[ProjectName, Path()]


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems.documented(409))
def create(request: ProjectRequest, services: Injected) -> ProjectSummary:
    """Make a project."""
    _check_roots(services, request)
    with services.database.write() as session:
        made = project_summary(session, store.create_project(session, request))
    services.callers.forget()
    return made


@router.get("")
def list_all(services: Injected) -> Page[ProjectSummary]:
    """The projects that you see, on one page, with what they may use and what they have used."""
    with services.database.read() as session:
        return Page(items=project_summaries(session, store.list_projects(session)))


@router.put("/{name}", responses=problems.documented(404))
def change(name: Name, request: ProjectChange, services: Injected) -> ProjectSummary:
    """Set what a project may use; what is left out has no limit from now on. What runs goes on."""
    _check_roots(services, request)
    with services.database.write() as session:
        changed = project_summary(session, store.change_project(session, name, request))
    services.driver.wake()
    return changed


@router.delete("/{name}", status_code=status.HTTP_204_NO_CONTENT, responses=problems.documented(404, 409))
def delete(name: Name, services: Injected) -> None:
    """Delete a project that nothing belongs to."""
    with services.database.write() as session:
        store.delete_project(session, name)
    services.callers.forget()


def _check_roots(services: Services, change: ProjectChange) -> None:
    try:
        check_roots(change.data_roots, services.settings.data_roots)
    except PathRefusedError as error:
        errors = [field_error("body", ["data_roots"], fault) for fault in error.faults.values()]
        raise ProblemError(422, str(error), errors=errors) from None
