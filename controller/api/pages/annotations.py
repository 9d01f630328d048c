"""Notes and tags from the page: plain forms that work without a script."""

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from paploss.client.annotations import Annotation, ExperimentAnnotation
from paploss.controller.api.parameters import ExperimentId, TrialId
from paploss.controller.api.problems import ProblemError, describe_errors
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected
from paploss.controller.store.annotations import annotate_experiment, annotate_trial

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False)

Note = Annotated[str, Form(max_length=20_000)]
Tags = Annotated[str, Form(max_length=2000)]
Change = TypeVar("Change", bound=Annotation)


@router.post("/experiments/{experiment_id}/annotation")
def annotate(experiment_id: ExperimentId, services: Injected, note: Note = "", tags: Tags = "") -> RedirectResponse:
    """Set the note and all tags of an experiment."""
    change = _read(ExperimentAnnotation, note, tags)
    with services.database.write() as session:
        annotate_experiment(session, experiment_id, change)
    return RedirectResponse(f"/experiments/{experiment_id}", 303)


@router.post("/trials/{trial_id}/annotation")
def annotate_one_trial(trial_id: TrialId, services: Injected, note: Note = "", tags: Tags = "") -> RedirectResponse:
    """Set the note and all tags of a trial."""
    change = _read(Annotation, note, tags)
    with services.database.write() as session:
        annotate_trial(session, trial_id, change)
    return RedirectResponse(f"/trials/{trial_id}", 303)


def _read(model: type[Change], note: str, tags: str) -> Change:
    document: dict[str, Any] = {"note": note.replace("\r\n", "\n"), "tags": tags.replace(",", " ").split()}
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = describe_errors(error.errors(), document)
        detail = "; ".join(f"{item.pointer.strip('/')}: {item.message}" for item in found)
        raise ProblemError(422, detail, errors=found) from None
