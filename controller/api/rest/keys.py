"""API keys over HTTP, for administrators: with SQLite the running controller is the only one to open the database."""

from typing import Annotated

from fastapi import APIRouter, Path, status

from paploss.client.models import KeyRequest, KeySummary, NewKey, Page
from paploss.controller.api import problems
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected
from paploss.controller.api.views import key_summary
from paploss.controller.store.access.keys import create_key, revoke_key
from paploss.controller.store.reading.lists import list_keys
from paploss.controller.store.tables import ApiKey

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1/keys", tags=["keys"])


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems.documented(404, 409))
def create(request: KeyRequest, services: Injected) -> NewKey:
    """Create a key. It is shown in this reply alone."""
    with services.database.write() as session:
        key = create_key(session, request.name, request.role, request.project)
        row = session.get_one(ApiKey, request.name, populate_existing=True)
        return NewKey(**key_summary(row).model_dump(), key=key)


@router.get("")
def list_all(services: Injected) -> Page[KeySummary]:
    """All keys by name, revoked ones too, on one page."""
    with services.database.read() as session:
        return Page(items=[key_summary(row) for row in list_keys(session)])


@router.delete("/{name}", status_code=status.HTTP_204_NO_CONTENT, responses=problems.documented(404))
def revoke(name: Annotated[str, Path(max_length=100)], services: Injected) -> None:
    """Revoke a key, and every browser session that was opened with it; what it has subscribed to is paused."""
    with services.database.write() as session:
        revoke_key(session, name)
    services.callers.forget()
