"""What a controller's answers mean to its clients: models, or errors in words for people."""

from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from paploss.client.models import ExperimentSummary

Model = TypeVar("Model", bound=BaseModel)

PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""
LONGEST_WAIT_SECONDS = 30.0
"""However long a Retry-After asks for."""


class ClientError(Exception):
    """What goes wrong with a request; the text is for people."""


class ApiError(ClientError):
    """The controller refuses. `fields` has, for each field at fault, its JSON pointer and what is wrong with it."""

    def __init__(
        self, status: int, title: str, detail: str, fields: Mapping[str, str], retry_seconds: float | None = None
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title
        self.detail = detail
        self.fields = dict(fields)
        self.retry_seconds = retry_seconds

    @property
    def field(self) -> str | None:
        """JSON pointer of the first field at fault, e.g. "/confirm/seeds"."""
        return next(iter(self.fields), None)


class UnreachableError(ClientError):
    """The controller cannot be reached, or what answers there is not one."""


def is_passing(error: ClientError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, UnreachableError) or (isinstance(error, ApiError) and error.status in PASSING)


def pause_after(error: ClientError, pause_seconds: float) -> float:
    """How long to wait before the next attempt: what the controller asks for, else `pause_seconds`."""
    asked = error.retry_seconds if isinstance(error, ApiError) else None
    return pause_seconds if asked is None else min(asked, LONGEST_WAIT_SECONDS)


def check(response: httpx.Response) -> httpx.Response:
    """The response, if it is a success.

    Raises:
        ApiError: it is a refusal.
    """
    if response.is_success:
        return response
    retry_after = response.headers.get("Retry-After", "")
    retry_seconds = float(retry_after) if retry_after.isdigit() else None
    try:
        problem = response.json()
        fields = {fault["pointer"]: fault["message"] for fault in problem.get("errors", ())}
        raise ApiError(response.status_code, problem["title"], problem["detail"], fields, retry_seconds)
    except (ValueError, KeyError, TypeError, AttributeError):  # a proxy's page, not a problem document
        detail = f"{response.status_code} {response.reason_phrase} from {response.url}"
        raise ApiError(response.status_code, response.reason_phrase, detail, {}, retry_seconds) from None


def parse(model: type[Model], response: httpx.Response) -> Model:
    """The model that a response holds.

    Raises:
        UnreachableError: it holds something else.
    """
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise UnreachableError(
            f"what answers at {response.url} is not a controller of this version: {error}"
        ) from error


def has_changed(found: ExperimentSummary, before: ExperimentSummary | None) -> bool:
    """Whether there is news: the estimate of the time left moves with every look and is none."""
    return before is None or _without_estimate(found) != _without_estimate(before)


def _without_estimate(found: ExperimentSummary) -> dict[str, Any]:
    return found.model_dump(exclude={"seconds_left"})
