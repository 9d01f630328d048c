"""What a controller's answers hold."""

from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, RootModel, ValidationError

from paploss.client.errors import UnreachableError
from paploss.client.models import ExperimentSummary
from paploss.jobs.documents import describe

Model = TypeVar("Model", bound=BaseModel)


class JsonDocument(RootModel[dict[str, Any]]):
    """An object of any fields."""


def parse(model: type[Model], response: httpx.Response) -> Model:
    """The model that a response holds.

    Raises:
        UnreachableError: it holds something else.
    """
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise UnreachableError(
            f"what answers at {response.url} is not a controller of this version: {describe(error)}"
        ) from error


def has_changed(run: ExperimentSummary, before: ExperimentSummary | None) -> bool:
    """Whether there is news: the estimate of the time left moves with every look and is none."""
    return before is None or _without_estimate(run) != _without_estimate(before)


def _without_estimate(run: ExperimentSummary) -> dict[str, Any]:
    return run.model_dump(exclude={"seconds_left"})
