"""Which project something new belongs to, and what it may use there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from fastapi import Query

from paploss.client.projects import DEFAULT_PROJECT, ProjectName, ProjectSummary
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import Services
from paploss.controller.api.views import moment
from paploss.controller.data_roots import narrow
from paploss.controller.store.database import Session
from paploss.controller.store.errors import NotFoundError
from paploss.controller.store.projects import get_project
from paploss.controller.store.tables import Project
from paploss.controller.store.trials.quotas import count_running
from paploss.controller.store.trials.spending import read_gpu_seconds
from paploss.controller.store.visibility import project_of

ProjectChoice = Annotated[
    ProjectName | None,
    Query(description="what it belongs to; by default the project of your key, or `default` where it is for all"),
]


def start_in(services: Services, caller: Caller, name: str | None) -> Services:
    """The services over the project that something new is to belong to: it refers to what is in there alone.

    Raises:
        NotFoundError: there is no such project, as far as the caller may know.
    """
    chosen = name or caller.project or DEFAULT_PROJECT
    if caller.project not in (None, chosen):
        raise NotFoundError(f"there is no project {chosen!r}")
    there = services.within(chosen)
    with there.database.read() as session:
        get_project(session, chosen)
    return there


def read_data_roots(services: Services) -> Sequence[Path]:
    """Where data sets and weights of the project may lie that the services are for.

    Raises:
        NotFoundError: there is no such project.
    """
    with services.database.read() as session:
        return narrow(services.settings.data_roots, get_project(session, project_of(session)).data_roots)


def project_summaries(session: Session, projects: Sequence[Project]) -> list[ProjectSummary]:
    """Projects, and what they use, with a fixed number of queries."""
    running, used = count_running(session), read_gpu_seconds(session, [each.name for each in projects])
    return [
        ProjectSummary(
            name=project.name,
            data_roots=project.data_roots,
            max_running_trials=project.max_running_trials,
            gpu_hours=project.gpu_hours,
            running_trials=running.get(project.name, 0),
            gpu_hours_used=used.get(project.name, 0.0) / 3600,
            created_at=moment(project.created_at),
        )
        for project in projects
    ]


def project_summary(session: Session, project: Project) -> ProjectSummary:
    """A project, and what it uses."""
    return project_summaries(session, [project])[0]
