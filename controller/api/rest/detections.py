"""What trainings detected, over HTTP; figures of it are among the figures."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from paploss.client.detections import Detections, LossDetections
from paploss.controller.api import problems
from paploss.controller.api.detections import read_detections, read_trial_detections
from paploss.controller.api.parameters import ExperimentId, TrialId
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected
from paploss.controller.store.reading.analyses import read_thumbnail

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1", tags=["detections"])

MOST_LOSSES = 2
Labels = Annotated[
    list[Annotated[str, Query(pattern=r"^[^\x00]{1,100}$")]],
    Query(max_length=MOST_LOSSES, description="labels of losses; by default those of the two best"),
]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{32,32}$")]

# A browser that is led to the image itself shows it and does nothing else with it.
_IMAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox"}


@router.get("/experiments/{experiment_id}/detections", responses=problems.documented(404))
def compare(experiment_id: ExperimentId, services: Injected, *, label: Labels = []) -> Detections:  # noqa: B006
    """What trainings with two losses of an experiment detected: average recall, precision-recall curves, which errors
    cost AP, and some images of the split with objects and detections."""
    with services.database.read() as session:
        return read_detections(session, experiment_id, label)


@router.get("/trials/{trial_id}/detections", responses=problems.documented(404))
def get(trial_id: TrialId, services: Injected) -> LossDetections:
    """What one trial detected. 404 also for a trial that was not analysed: those of rounds are not."""
    with services.database.read() as session:
        return read_trial_detections(session, trial_id)


@router.get(
    "/experiments/{experiment_id}/thumbnails/{digest}",
    responses=problems.documented(404) | {200: {"content": {"image/jpeg": {}}}},
    response_class=Response,
)
def get_thumbnail(experiment_id: ExperimentId, digest: Digest, services: Injected) -> Response:
    """The JPEG of a picture."""
    with services.database.read() as session:
        jpeg = read_thumbnail(session, experiment_id, digest)
    return Response(jpeg, media_type="image/jpeg", headers=_IMAGE_HEADERS)
