"""What follows from a search, started from its page: a final training, or a comparison with other losses."""

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from paploss.client.documents import SPEC
from paploss.client.loss_choice import LossChoice, every_loss
from paploss.client.specs import ComparisonSpec, SearchSpec, TrainingSpec
from paploss.controller.api.idempotency import identify_request
from paploss.controller.api.parameters import ExperimentId
from paploss.controller.api.projects import read_data_roots, start_in
from paploss.controller.api.security.access import AuthorizedRoute, SignedIn
from paploss.controller.api.services import Injected
from paploss.controller.data_roots import check_files
from paploss.controller.experiments.creation import create
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.reading import lists

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False)

LABEL = "found here"


@router.post("/experiments/{experiment_id}/{follow_up}")
def start(
    experiment_id: ExperimentId,
    follow_up: Literal["training", "comparison"],
    services: Injected,
    caller: SignedIn,
) -> RedirectResponse:
    """Start it in the search's project, once for each search and person, and show it; a second press shows that one."""
    with services.database.read() as session:
        search = lists.get_experiment(session, experiment_id, "search")
    spec = SPEC.read(search.spec)
    if not isinstance(spec, SearchSpec):
        raise ConflictError(f"experiment {experiment_id} is no search")
    request = follow(spec, experiment_id, follow_up)
    there = start_in(services, caller, search.project)
    check_files(request, read_data_roots(there))
    with there.database.write() as session:
        key = identify_request(f"{follow_up}-of-{experiment_id}", request)
        experiment = create(session, request, caller.name, key)
    services.driver.wake()
    return RedirectResponse(f"/experiments/{experiment.id}", 303)


def follow(
    spec: SearchSpec, experiment_id: str, follow_up: Literal["training", "comparison"]
) -> TrainingSpec | ComparisonSpec:
    """With the search's detector, data, reward and final schedule, measured on its test split where it has one."""
    found = LossChoice(label=LABEL, search=experiment_id)
    shared = {
        "profile": spec.profile,
        "dataset": spec.dataset,
        "weights": spec.weights,
        "overrides": spec.overrides.model_copy(update={"epochs": None}),
        "reward": spec.reward,
        "gpus": spec.gpus,
        "gather_scores": spec.gather_scores,
        "budgets": spec.budgets,
        "synthetic": spec.synthetic,
        "evaluate_split": "test" if spec.dataset.test is not None else "val",
    }
    name = f"{follow_up} for {spec.name or experiment_id}"[:200]
    if follow_up == "training":
        return TrainingSpec(name=name, losses=(found,), **shared)
    return ComparisonSpec(name=name, losses=(found, *every_loss(spec.profile)), **shared)
