"""A typed client of the controller's REST interface, for programs and for the command line.

    with Client("http://127.0.0.1:8080", key) as client:
        search = client.create_search(SearchSpec(profile="retinanet-tiny"))
        client.wait(search.id, lambda run: print(run.trials_final, run.best_ap))
        print(client.best(search.id).ap)

Requests are repeated where the controller cannot be reached or is not ready, and that is safe: what creates something
carries an Idempotency-Key.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from controller.api.models import (
    Best,
    KeyRequest,
    KeySummary,
    LogLine,
    NewKey,
    Page,
    RoundSummary,
    Run,
    SearchDetail,
    SearchSummary,
    Status,
    TrainingDetail,
    TrainingSummary,
    TrialDetail,
    TrialSummary,
    WorkerSummary,
)
from controller.comparison_report import Comparison
from controller.specs import SearchSpec, TrainingSpec
from controller.store.models import FINAL_SEARCH_STATES, Role, SearchState, TrialState
from jobs.spec import JobKind

Model = TypeVar("Model", bound=BaseModel)

TIMEOUT = httpx.Timeout(30, connect=5)
PAGE = 200
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.25
_PASSING = frozenset({429, 502, 503, 504})


class ClientError(Exception):
    """What goes wrong with a request; the text is for people."""


class ApiError(ClientError):
    """The controller refuses. `fields` has, for each field at fault, its JSON pointer and what is wrong with it."""

    def __init__(self, status: int, title: str, detail: str, fields: Mapping[str, str]) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title
        self.detail = detail
        self.fields = dict(fields)

    @property
    def field(self) -> str | None:
        """JSON pointer of the first field at fault, e.g. "/confirm/seeds"."""
        return next(iter(self.fields), None)


class UnreachableError(ClientError):
    """The controller cannot be reached, or what answers there is not one."""


class Client:
    """One connection to a controller. Safe to use from several threads.

    Every method raises ApiError where the controller refuses, and UnreachableError where it does not answer.
    """

    def __init__(self, url: str, key: str, *, attempts: int = ATTEMPTS) -> None:
        """`url`: of the controller, without a path; `attempts`: how often a request is tried at most."""
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1/", headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    # Searches. Pause, resume, cancel, delete, trials, log and wait take the id of a training request as well.

    def create_search(self, spec: SearchSpec, idempotency_key: str | None = None) -> SearchDetail:
        """Start a search; the same `idempotency_key` again gives the same search."""
        return self._create(SearchDetail, "searches", spec, idempotency_key)

    def list_searches(self, state: SearchState | None = None) -> Iterator[SearchSummary]:
        """Searches, newest first."""
        return self._list(SearchSummary, "searches", state=state)

    def get_search(self, search_id: str) -> SearchDetail:
        """One search."""
        return self._get(SearchDetail, f"searches/{search_id}")

    def pause(self, search_id: str) -> Run:
        """Let nothing more be claimed; running trials are handed back with a checkpoint."""
        return self._act(search_id, "pause")

    def resume(self, search_id: str) -> Run:
        """Go on after a pause."""
        return self._act(search_id, "resume")

    def cancel(self, search_id: str) -> Run:
        """End it and its open trials, for good."""
        return self._act(search_id, "cancel")

    def delete(self, search_id: str) -> None:
        """Delete it with all that belongs to it, once it has ended."""
        self._send("DELETE", f"searches/{search_id}")

    def best(self, search_id: str) -> Best:
        """The best loss so far; ApiError 404 until a trial has a reward."""
        return self._get(Best, f"searches/{search_id}/best")

    def trials(
        self,
        search_id: str,
        *,
        state: TrialState | None = None,
        kind: JobKind | None = None,
        round: int | None = None,  # noqa: A002 (the term of the design)
    ) -> Iterator[TrialSummary]:
        """Trials by number."""
        return self._list(TrialSummary, f"searches/{search_id}/trials", state=state, kind=kind, round=round)

    def rounds(self, search_id: str) -> Iterator[RoundSummary]:
        """The policy versions of a search, by number."""
        return self._list(RoundSummary, f"searches/{search_id}/rounds")

    def log(self, search_id: str, after: int = 0) -> Iterator[LogLine]:
        """The event log, oldest line first, from the line after the one with the id `after`."""
        cursor = str(after)
        while lines := self._get(Page[LogLine], f"searches/{search_id}/log", cursor=cursor, limit=PAGE).items:
            yield from lines
            cursor = str(lines[-1].id)

    def get_trial(self, trial_id: str) -> TrialDetail:
        """One trial with its loss, learning curve and attempts."""
        return self._get(TrialDetail, f"trials/{trial_id}")

    def wait(
        self,
        search_id: str,
        on_change: Callable[[Run], None] | None = None,
        *,
        poll_seconds: float = 1.0,
    ) -> Run:
        """Return once it has ended; `on_change` is called at first and whenever something has changed."""
        get: Callable[[str], Run] = self.get_search
        try:
            get(search_id)
        except ApiError as error:
            if error.status != 404:
                raise
            get = self.get_training
        seen: Run | None = None
        while True:
            run = get(search_id)
            if on_change is not None and (seen is None or _without_estimate(run) != _without_estimate(seen)):
                on_change(run)
            if run.state in FINAL_SEARCH_STATES:
                return run
            seen = run
            time.sleep(poll_seconds)

    # Trainings.

    def create_training(self, spec: TrainingSpec, idempotency_key: str | None = None) -> TrainingDetail:
        """Train with given losses; the same `idempotency_key` again gives the same request."""
        return self._create(TrainingDetail, "trainings", spec, idempotency_key)

    def list_trainings(self, state: SearchState | None = None) -> Iterator[TrainingSummary]:
        """Training requests, newest first."""
        return self._list(TrainingSummary, "trainings", state=state)

    def get_training(self, training_id: str) -> TrainingDetail:
        """One training request with its results by loss."""
        return self._get(TrainingDetail, f"trainings/{training_id}")

    def comparison(self, training_id: str) -> Comparison:
        """The losses of a training request beside each other, as far as they have got."""
        return self._get(Comparison, f"trainings/{training_id}/comparison")

    # The platform.

    def workers(self) -> Iterator[WorkerSummary]:
        """Workers by name, with what each does."""
        return self._list(WorkerSummary, "workers")

    def status(self) -> Status:
        """The platform at a glance."""
        return self._get(Status, "status")

    def create_key(self, name: str, role: Role) -> NewKey:
        """Make an API key; the reply is the only place where it is ever shown."""
        request = KeyRequest(name=name, role=role)
        # Not repeated: the first reply, if it was lost, held a key that nobody can ask for again.
        return _parse(NewKey, self._send_once("POST", "keys", json=request.model_dump(mode="json")))

    def list_keys(self) -> list[KeySummary]:
        """All API keys, without the keys."""
        return self._get(Page[KeySummary], "keys").items

    def revoke_key(self, name: str) -> None:
        """End a key's validity."""
        self._send("DELETE", f"keys/{name}")

    def _create(self, model: type[Model], path: str, spec: BaseModel, idempotency_key: str | None) -> Model:
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return _parse(model, self._send("POST", path, json=spec.model_dump(mode="json"), headers=headers))

    def _act(self, search_id: str, action: str) -> Run:
        return _parse(Run, self._send("POST", f"searches/{search_id}/{action}"))

    def _get(self, model: type[Model], path: str, **params: Any) -> Model:
        return _parse(model, self._send("GET", path, params=params))

    def _list(self, model: type[Model], path: str, **params: Any) -> Iterator[Model]:
        asked = {name: value for name, value in params.items() if value is not None} | {"limit": PAGE}
        page_model = Page[model]  # type: ignore[valid-type]
        while True:
            page = self._get(page_model, path, **asked)
            yield from page.items
            if page.next_cursor is None:
                return
            asked["cursor"] = page.next_cursor

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request that may be repeated, as often as is needed and allowed."""
        pause_seconds = FIRST_PAUSE_SECONDS
        for left in reversed(range(self._attempts)):
            try:
                return self._send_once(method, path, **request)
            except UnreachableError:
                if left == 0:
                    raise
            except ApiError as error:
                if left == 0 or error.status not in _PASSING:
                    raise
            time.sleep(pause_seconds)
            pause_seconds *= 2
        raise ValueError(f"attempts: expected at least 1, got {self._attempts}")

    def _send_once(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise UnreachableError(f"no controller answers at {self.url}: {error}") from error
        if response.is_success:
            return response
        raise _refusal(response)


def _refusal(response: httpx.Response) -> ApiError:
    try:
        problem = response.json()
        fields = {fault["pointer"]: fault["message"] for fault in problem.get("errors", ())}
        return ApiError(response.status_code, problem["title"], problem["detail"], fields)
    except (ValueError, KeyError, TypeError, AttributeError):  # a proxy's page, not a problem document
        detail = f"{response.status_code} {response.reason_phrase} from {response.url}"
        return ApiError(response.status_code, response.reason_phrase, detail, {})


def _parse(model: type[Model], response: httpx.Response) -> Model:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise UnreachableError(
            f"what answers at {response.url} is not a controller of this version: {error}"
        ) from error


def _without_estimate(run: Run) -> dict[str, Any]:
    """What counts as a change: the estimate of the time left moves with every look."""
    return run.model_dump(exclude={"seconds_left"})
