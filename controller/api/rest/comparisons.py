"""The table of losses of a comparison or of trainings, over HTTP."""

from fastapi import APIRouter, Response

from paploss.client.comparison import Comparison, write_csv
from paploss.controller.api import problems
from paploss.controller.api.comparisons import read_comparison
from paploss.controller.api.parameters import ExperimentId
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1/experiments", tags=["experiments"])


@router.get("/{experiment_id}/comparison", responses=problems.documented(404))
def get_comparison(experiment_id: ExperimentId, services: Injected) -> Comparison:
    """The losses of a comparison: mean and spread over the seeds, paired difference to the reference with its 95 %
    interval, and the published result. What has not been measured yet is null."""
    with services.database.read() as session:
        return read_comparison(session, experiment_id)


@router.get(
    "/{experiment_id}/comparison.csv",
    response_class=Response,
    responses=problems.documented(404) | {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def download_comparison(experiment_id: ExperimentId, services: Injected) -> Response:
    """The comparison as CSV."""
    text = write_csv(get_comparison(experiment_id, services))
    headers = {"Content-Disposition": f'attachment; filename="comparison-{experiment_id}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
