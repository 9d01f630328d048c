"""One trial over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body

from paploss.client.annotations import Annotation
from paploss.client.models import TrialDetail
from paploss.controller.api import problems, views
from paploss.controller.api.parameters import TrialId
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected
from paploss.controller.store.annotations import annotate_trial
from paploss.controller.store.reading import lists
from paploss.controller.store.trials import transitions

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1/trials", tags=["trials"])


@router.get("/{trial_id}", responses=problems.documented(404))
def get(trial_id: TrialId, services: Injected) -> TrialDetail:
    """One trial with its loss, its learning curve and its attempts."""
    with services.database.read() as session:
        return views.trial_detail(session, lists.get_trial(session, trial_id))


@router.patch("/{trial_id}", responses=problems.documented(404))
def annotate(trial_id: TrialId, annotation: Annotated[Annotation, Body()], services: Injected) -> TrialDetail:
    """Change the note or the tags of a trial; what is left out or null stays."""
    with services.database.write() as session:
        return views.trial_detail(session, annotate_trial(session, trial_id, annotation))


@router.post("/{trial_id}/cancel", responses=problems.documented(404, 409))
def cancel(trial_id: TrialId, services: Injected) -> TrialDetail:
    """End one trial without a reward; its search goes on without it. A worker that trains it learns of it at its next
    renewal. 409: it has ended already."""
    with services.database.write() as session:
        cancelled = transitions.cancel_trial(session, trial_id)
        session.flush()
        detail = views.trial_detail(session, cancelled)
    services.driver.wake()
    return detail
