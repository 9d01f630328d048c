"""The workers over HTTP."""

from fastapi import APIRouter

from paploss.client.models import Page, WorkerSummary
from paploss.controller.api.parameters import Limit, NameCursor
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected
from paploss.controller.api.workers import read_workers

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1/workers", tags=["platform"])


@router.get("")
def list_all(services: Injected, cursor: NameCursor = None, limit: Limit = 200) -> Page[WorkerSummary]:
    """Workers by name, with the trial of each; then those that wait and have never claimed a trial."""
    return read_workers(services, cursor, limit)
