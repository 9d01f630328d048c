"""Projects: made, changed and deleted. What they use is in `trials/quotas.py`."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paploss.client.projects import DEFAULT_PROJECT, ProjectChange, ProjectRequest
from paploss.controller.store.database import insert_absent
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.tables import ApiKey, Experiment, Project, Subscription

MOST_PROJECTS: Final = 1000


def list_names(session: Session) -> Sequence[str]:
    """The names of all projects, the default one first."""
    return session.scalars(select(Project.name).order_by(Project.name != DEFAULT_PROJECT, Project.name)).all()


def list_projects(session: Session) -> Sequence[Project]:
    """All projects that the session sees, the default one first."""
    return session.scalars(select(Project).order_by(Project.name != DEFAULT_PROJECT, Project.name)).all()


def get_project(session: Session, name: str) -> Project:
    """A project.

    Raises:
        NotFoundError: there is none of this name, or the session does not see it.
    """
    found = session.get(Project, name)
    if found is None:
        raise NotFoundError(f"there is no project {name!r}")
    return found


def hold_project(session: Session, name: str) -> Project:
    """A project that something is to belong to: it is not deleted before the end of the transaction.

    Raises:
        NotFoundError: there is none of this name.
    """
    found = session.scalar(select(Project).where(Project.name == name).with_for_update(read=True, key_share=True))
    if found is None:
        raise NotFoundError(f"there is no project {name!r}")
    return found


def create_project(session: Session, request: ProjectRequest) -> Project:
    """Store a project.

    Raises:
        ConflictError: the name is taken, or there are MOST_PROJECTS already.
    """
    if session.execute(select(func.count()).select_from(Project)).scalar_one() >= MOST_PROJECTS:
        raise ConflictError(f"there are {MOST_PROJECTS} projects already")
    if not insert_absent(session, Project, request.model_dump()):
        raise ConflictError(f"there is a project {request.name!r} already")
    return get_project(session, request.name)


def change_project(session: Session, name: str, change: ProjectChange) -> Project:
    """Set what a project may use.

    Raises:
        NotFoundError: there is none of this name.
    """
    project = get_project(session, name)
    _set(project, change)
    session.flush()
    return project


def delete_project(session: Session, name: str) -> None:
    """Delete a project that nothing belongs to.

    Raises:
        NotFoundError: there is none of this name.
        ConflictError: something belongs to it, or it is the default one.
    """
    project = session.scalar(select(Project).where(Project.name == name).with_for_update())
    if project is None:
        raise NotFoundError(f"there is no project {name!r}")
    if name == DEFAULT_PROJECT:
        raise ConflictError(f"the project {name!r} stays: what names no project belongs to it")
    for model, which, is_its in (
        (Experiment, "experiments", Experiment.project == name),
        (ApiKey, "keys", (ApiKey.project == name) & ApiKey.revoked_at.is_(None)),
        (Subscription, "subscriptions", Subscription.project == name),
    ):
        if count := session.scalar(select(func.count()).select_from(model).where(is_its)):
            raise ConflictError(f"{count} {which} belong to the project {name!r}; delete or revoke them first")
    session.delete(project)


def _set(project: Project, change: ProjectChange) -> None:
    project.data_roots = list(change.data_roots)
    project.max_running_trials = change.max_running_trials
    project.gpu_hours = change.gpu_hours
