"""Trainings with given losses over HTTP. Pause, resume, cancel, delete, trials, CSV, log and events are those of
searches: both kinds of request have ids of one kind."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from paploss.client.comparison import Comparison, write_csv
from paploss.client.models import Figure, Page, Theme, TrainingDetail, TrainingSummary
from paploss.client.specs import TrainingSpec, check_paths
from paploss.client.states import SearchState
from paploss.controller.api import problems, views
from paploss.controller.api.access import GuardedRoute, SignedIn
from paploss.controller.api.comparisons import read_comparison
from paploss.controller.api.idempotency import IdempotencyHeader, identify_request
from paploss.controller.api.parameters import IdCursor, Limit, SearchId
from paploss.controller.api.services import Injected
from paploss.controller.store import queries
from paploss.controller.store.searches import create_training
from paploss.controller.web.comparisons import draw_comparison

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1/trainings", tags=["trainings"])


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems.documented(404, 409))
def create(
    spec: TrainingSpec,
    services: Injected,
    caller: SignedIn,
    response: Response,
    idempotency_key: IdempotencyHeader = None,
) -> TrainingDetail:
    """Train with given losses, each over the same seeds: a comparison, or final trainings.

    A loss is an object, or a name: `published`, `identity`, `focal_l1` and so on.
    """
    check_paths(spec, services.settings.data_roots)
    with services.database.write() as session:
        idempotency = identify_request(idempotency_key, "training", spec)
        training = create_training(session, spec, caller.name, idempotency)
        detail = views.training_detail(session, training)
    services.driver.wake()
    response.headers["Location"] = f"/api/v1/trainings/{detail.id}"
    return detail


@router.get("")
def list_all(
    services: Injected, state: SearchState | None = None, cursor: IdCursor = None, limit: Limit = 50
) -> Page[TrainingSummary]:
    """Training requests, newest first."""
    with services.database.read() as session:
        page = queries.list_searches(session, kind="training", state=state, cursor=cursor, limit=limit)
        return Page(items=views.training_summaries(session, page.items), next_cursor=page.next_cursor)


@router.get("/{search_id}", responses=problems.documented(404))
def get(search_id: SearchId, services: Injected) -> TrainingDetail:
    """One training request with its results by loss."""
    with services.database.read() as session:
        return views.training_detail(session, queries.get_search(session, search_id, "training"))


@router.get("/{search_id}/comparison", responses=problems.documented(404))
def get_comparison(search_id: SearchId, services: Injected) -> Comparison:
    """The losses beside each other: mean and spread over the seeds, paired difference to the reference with its 95 %
    interval, and the published result. What has not been measured yet is null."""
    with services.database.read() as session:
        return read_comparison(session, queries.get_search(session, search_id, "training"))


@router.get(
    "/{search_id}/comparison.csv",
    response_class=Response,
    responses=problems.documented(404) | {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def download_comparison(search_id: SearchId, services: Injected) -> Response:
    """The comparison as CSV."""
    text = write_csv(get_comparison(search_id, services))
    headers = {"Content-Disposition": f'attachment; filename="comparison-{search_id}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/{search_id}/figures/comparison", responses=problems.documented(404))
def draw(
    search_id: SearchId, services: Injected, theme: Annotated[Theme, Query(description="colours")] = "light"
) -> Figure:
    """The comparison as a figure: means with their intervals, a dot for each seed, the published AP beside them."""
    return draw_comparison(get_comparison(search_id, services), theme)
