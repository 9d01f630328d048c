"""One trial over HTTP."""

from fastapi import APIRouter

from controller.api import problems, views
from controller.api.access import GuardedRoute
from controller.api.models import TrialDetail
from controller.api.parameters import TrialId
from controller.api.services import Injected
from controller.store import queries

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1/trials", tags=["trials"])


@router.get("/{trial_id}", responses=problems.documented(404))
def get(trial_id: TrialId, services: Injected) -> TrialDetail:
    """One trial with its loss, its learning curve and its attempts."""
    with services.database.read() as session:
        return views.trial_detail(session, queries.get_trial(session, trial_id))
