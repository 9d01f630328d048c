"""A typed client of the controller's REST interface.

Made from `paploss.client.async_client` by `deploy/make_client.py`.

    with Client("http://127.0.0.1:8080", key) as client:
        search = client.create(SearchSpec(profile="retinanet-tiny"))
        client.wait(search.id, lambda run: print(run.trials_final, run.best_ap))
        print(client.best(search.id).ap)

Lists go on over pages by themselves. Requests are repeated where the controller cannot be reached or is not ready, and
that is safe: what creates something carries an Idempotency-Key.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import httpx

from paploss.client import sync_session
from paploss.client.annotations import Annotation, ExperimentAnnotation
from paploss.client.comparison import Comparison
from paploss.client.detections import Detections, LossDetections
from paploss.client.errors import ApiError, ClientError, UnreachableError, is_passing
from paploss.client.estimates import Estimate
from paploss.client.models import (
    Best,
    ComparedFigure,
    ExperimentDetail,
    ExperimentFigure,
    ExperimentSummary,
    Figure,
    KeyRequest,
    KeySummary,
    LogLine,
    NewKey,
    NewToken,
    Page,
    RoundSummary,
    Spent,
    Status,
    Theme,
    TokenRequest,
    TokenSummary,
    TrialDetail,
    TrialFigure,
    TrialSummary,
    WorkerSummary,
)
from paploss.client.notifications import DeliverySummary, NewSubscription, SubscriptionRequest, SubscriptionSummary
from paploss.client.projects import DEFAULT_PROJECT, ProjectChange, ProjectRequest, ProjectSummary
from paploss.client.replies import JsonDocument, Model, has_changed, parse
from paploss.client.specs import ExperimentSpec, SearchSpec
from paploss.client.states import (
    FINAL_EXPERIMENT_STATES,
    Archived,
    ExperimentKind,
    ExperimentState,
    Role,
    TokenRole,
    TrialState,
)
from paploss.jobs.spec import JobKind

__all__ = ["ApiError", "Client", "ClientError", "UnreachableError"]

FILE_TIMEOUT = httpx.Timeout(600, connect=5)
PATIENCE_SECONDS = 120.0


class Client:
    """Connections to one controller. Safe to use from several threads.

    Every method raises ApiError where the controller refuses, and UnreachableError where it does not answer.
    """

    def __init__(self, url: str, key: str, *, attempts: int = sync_session.ATTEMPTS) -> None:
        """`url`: of the controller, without a path; `attempts`: how often a request is tried at most."""
        self._session = sync_session.Session(url, key, attempts=attempts)
        self.url = self._session.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def create(
        self, spec: ExperimentSpec, idempotency_key: str | None = None, *, project: str | None = None
    ) -> ExperimentDetail:
        """Start a search, a comparison or trainings; the same `idempotency_key` again gives the same experiment.

        `project`: what it belongs to, for keys that are for all; by default that of the key, or `default`.
        """
        options: dict[str, Any] = {"headers": {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}}
        if project is not None:
            options["params"] = {"project": project}
        reply = self._session.send("POST", "experiments", json=spec.model_dump(mode="json"), **options)
        return parse(ExperimentDetail, reply)

    def list_experiments(
        self,
        kind: ExperimentKind | None = None,
        state: ExperimentState | None = None,
        *,
        text: str | None = None,
        tag: str | None = None,
        profile: str | None = None,
        dataset: str | None = None,
        owner: str | None = None,
        project: str | None = None,
        archived: Archived = "no",
    ) -> Iterator[ExperimentSummary]:
        """Experiments that meet every condition, newest first; `text` is looked for in id, name, tags and note."""
        exact = {"kind": kind, "state": state, "tag": tag, "profile": profile, "dataset": dataset, "owner": owner}
        exact["project"] = project
        return self._list(ExperimentSummary, "experiments", text=text, archived=archived, **exact)

    def get_experiment(self, experiment_id: str) -> ExperimentDetail:
        """One experiment with its request and its results."""
        return self._get(ExperimentDetail, f"experiments/{experiment_id}")

    def annotate(
        self,
        experiment_id: str,
        *,
        note: str | None = None,
        tags: Sequence[str] | None = None,
        archived: bool | None = None,
    ) -> ExperimentDetail:
        """Change the note (Markdown), all tags, or whether lists hide it; None leaves them as they are."""
        change = ExperimentAnnotation(note=note, tags=None if tags is None else tuple(tags), archived=archived)
        return parse(ExperimentDetail, self._patch(f"experiments/{experiment_id}", change))

    def annotate_trial(
        self, trial_id: str, *, note: str | None = None, tags: Sequence[str] | None = None
    ) -> TrialDetail:
        """Change the note (Markdown) or all tags of a trial; None leaves them as they are."""
        change = Annotation(note=note, tags=None if tags is None else tuple(tags))
        return parse(TrialDetail, self._patch(f"trials/{trial_id}", change))

    def pause(self, experiment_id: str) -> ExperimentSummary:
        """Let nothing more be claimed; running trials are released with a checkpoint."""
        return self._act(experiment_id, "pause")

    def resume(self, experiment_id: str) -> ExperimentSummary:
        """Go on after a pause."""
        return self._act(experiment_id, "resume")

    def cancel(self, experiment_id: str) -> ExperimentSummary:
        """End it and its open trials, for good."""
        return self._act(experiment_id, "cancel")

    def delete(self, experiment_id: str) -> None:
        """Delete it with all that belongs to it, once it has ended."""
        self._session.send("DELETE", f"experiments/{experiment_id}")

    def dump(self, experiment_id: str) -> bytes:
        """An experiment with all that belongs to it, as the content of a file for `load`."""
        return self._session.send("GET", f"experiments/{experiment_id}/dump", timeout=FILE_TIMEOUT).content

    def load(self, content: bytes, *, project: str | None = None) -> ExperimentSummary:
        """Store what `dump` gave, in a project or in its own; one that had not ended is paused."""
        options: dict[str, Any] = {"content": content, "timeout": FILE_TIMEOUT}
        if project is not None:
            options["params"] = {"project": project}
        # Not repeated: the second time, what the first had stored would be refused.
        reply = self._session.send_once("POST", "experiments/load", **options)
        return parse(ExperimentSummary, reply)

    def best(self, experiment_id: str) -> Best:
        """The best loss of a search so far; ApiError 404 until a trial has a reward."""
        return self._get(Best, f"experiments/{experiment_id}/best")

    def trials(
        self,
        experiment_id: str,
        *,
        state: TrialState | None = None,
        kind: JobKind | None = None,
        round: int | None = None,  # noqa: A002 (the term of the design)
    ) -> Iterator[TrialSummary]:
        """Trials by number."""
        return self._list(TrialSummary, f"experiments/{experiment_id}/trials", state=state, kind=kind, round=round)

    def rounds(self, experiment_id: str) -> Iterator[RoundSummary]:
        """The versions of a search's algorithm, by number."""
        return self._list(RoundSummary, f"experiments/{experiment_id}/rounds")

    def log(self, experiment_id: str, after: int = 0) -> Iterator[LogLine]:
        """The event log, oldest line first, from the line after the one with the id `after`."""
        path, cursor = f"experiments/{experiment_id}/log", str(after)
        while True:
            page = self._get(Page[LogLine], path, cursor=cursor, limit=sync_session.PAGE)
            if not page.items:
                return
            yield from page.items
            cursor = str(page.items[-1].id)

    def get_trial(self, trial_id: str) -> TrialDetail:
        """One trial with its loss, learning curve and attempts."""
        return self._get(TrialDetail, f"trials/{trial_id}")

    def cancel_trial(self, trial_id: str) -> TrialDetail:
        """End one trial without a reward; its search goes on without it."""
        return parse(TrialDetail, self._session.send("POST", f"trials/{trial_id}/cancel"))

    def detections(self, experiment_id: str, labels: Sequence[str] = ()) -> Detections:
        """What trainings with up to two losses detected, by default the two best; ApiError 404 where none is known."""
        return self._get(Detections, f"experiments/{experiment_id}/detections", label=list(labels))

    def trial_detections(self, trial_id: str) -> LossDetections:
        """What one trial detected; ApiError 404 if it was not analysed."""
        return self._get(LossDetections, f"trials/{trial_id}/detections")

    def thumbnail(self, experiment_id: str, digest: str) -> bytes:
        """The JPEG of a picture."""
        return self._session.send("GET", f"experiments/{experiment_id}/thumbnails/{digest}").content

    def figure(
        self,
        experiment_id: str,
        name: ExperimentFigure,
        *,
        theme: Theme = "light",
        head: str | None = None,
        columns: int = 5,
        group: str | None = None,
        x: str | None = None,
        y: str | None = None,
        labels: Sequence[str] = (),
    ) -> Figure:
        """A figure of an experiment as plotly JSON: `plotly.graph_objects.Figure(figure)` shows it in a notebook.

        Args:
            experiment_id: ApiError 404 also where there is nothing to draw, or not for its kind.
            name: what to draw.
            theme: colours.
            head: for functions: which head of the detector, the first by default.
            columns: for functions: how many side by side, 1 to 5.
            group: for parallel: a function, as "bbox_head.H2"; by default the dimensions that go with the reward most.
            x: for scatter: a column, as "seconds", "AP50" or "bbox_head.H2.knot1.x"; y likewise.
            y: by default the reward.
            labels: for precision_recall and error_costs: of up to two losses, by default the two best.
        """
        options: dict[str, Any] = {"theme": theme, "head": head, "columns": columns, "group": group, "x": x, "y": y}
        options["label"] = list(labels)
        return self._get_json(f"experiments/{experiment_id}/figures/{name}", options)

    def compared_figure(
        self,
        experiment_ids: Sequence[str],
        name: ComparedFigure,
        *,
        by: Spent = "trainings",
        theme: Theme = "light",
        head: str | None = None,
        columns: int = 5,
    ) -> Figure:
        """A figure of several experiments, as `figure`; `by`: for best_so_far: what the horizontal axis counts."""
        options = {"id": list(experiment_ids), "by": by, "theme": theme, "head": head, "columns": columns}
        return self._get_json(f"figures/{name}", options)

    def trial_figure(
        self, trial_id: str, name: TrialFigure, *, theme: Theme = "light", head: str | None = None, columns: int = 5
    ) -> Figure:
        """A figure of a trial, as `figure`."""
        options = {"theme": theme, "head": head, "columns": columns}
        return self._get_json(f"trials/{trial_id}/figures/{name}", options)

    def wait(
        self,
        experiment_id: str,
        on_change: Callable[[ExperimentSummary], None] | None = None,
        *,
        poll_seconds: float = 1.0,
        patience_seconds: float = PATIENCE_SECONDS,
        timeout_seconds: float | None = None,
    ) -> ExperimentDetail:
        """Return once it has ended.

        Args:
            on_change: called at first and whenever something has changed.
            poll_seconds: pause between two looks.
            patience_seconds: how long a controller may stay away, as while it restarts.
            timeout_seconds: how long to wait at most.

        Raises:
            TimeoutError: it has not ended within `timeout_seconds`; it goes on.
        """
        started_at = answered_at = time.monotonic()
        seen: ExperimentDetail | None = None
        while True:
            try:
                found = self.get_experiment(experiment_id)
            except ClientError as error:
                if not is_passing(error) or time.monotonic() - answered_at > patience_seconds:
                    raise
            else:
                answered_at = time.monotonic()
                if on_change is not None and has_changed(found, seen):
                    on_change(found)
                if found.state in FINAL_EXPERIMENT_STATES:
                    return found
                seen = found
            pause_seconds = poll_seconds
            if timeout_seconds is not None:
                pause_seconds = min(poll_seconds, started_at + timeout_seconds - time.monotonic())
                if pause_seconds <= 0:
                    raise TimeoutError(f"{experiment_id} has not ended after {timeout_seconds:g} s")
            time.sleep(pause_seconds)

    def estimate(self, spec: SearchSpec) -> Estimate:
        """What a search would cost, from the newest one that trained alike. Nothing is started."""
        reply = self._session.send("POST", "experiments/estimate", json=spec.model_dump(mode="json"))
        return parse(Estimate, reply)

    def comparison(self, experiment_id: str) -> Comparison:
        """The losses of a comparison, or of trainings, beside each other, as far as they have got."""
        return self._get(Comparison, f"experiments/{experiment_id}/comparison")

    # The platform.

    def workers(self) -> Iterator[WorkerSummary]:
        """Workers by name, with what each does."""
        return self._list(WorkerSummary, "workers")

    def status(self) -> Status:
        """The platform at a glance."""
        return self._get(Status, "status")

    def create_key(self, name: str, role: Role, *, project: str | None = DEFAULT_PROJECT) -> NewKey:
        """Make an API key; the reply is the only place where it is ever shown. `project`: None for all."""
        request = KeyRequest(name=name, role=role, project=project)
        # Not repeated: the first reply, if it was lost, held a key that nobody can ask for again.
        return parse(NewKey, self._session.send_once("POST", "keys", json=request.model_dump(mode="json")))

    def list_keys(self) -> list[KeySummary]:
        """All API keys, without the keys."""
        page = self._get(Page[KeySummary], "keys")
        return page.items

    def revoke_key(self, name: str) -> None:
        """End a key's validity."""
        self._session.send("DELETE", f"keys/{name}")

    def create_project(self, request: ProjectRequest) -> ProjectSummary:
        """Make a project."""
        document = request.model_dump(mode="json")
        return parse(ProjectSummary, self._session.send_once("POST", "projects", json=document))

    def list_projects(self) -> list[ProjectSummary]:
        """The projects that your key sees, with what they may use and what they have used."""
        page = self._get(Page[ProjectSummary], "projects")
        return page.items

    def change_project(self, name: str, change: ProjectChange) -> ProjectSummary:
        """Set all that a project may use; what is left out has no limit from now on."""
        document = change.model_dump(mode="json")
        return parse(ProjectSummary, self._session.send("PUT", f"projects/{name}", json=document))

    def delete_project(self, name: str) -> None:
        """Delete a project that nothing belongs to."""
        self._session.send("DELETE", f"projects/{name}")

    def subscribe(self, request: SubscriptionRequest) -> NewSubscription:
        """Ask to be told; the reply is the only place where a webhook's secret is ever shown."""
        sent = request.model_dump(mode="json")
        # Not repeated: the first reply, if it was lost, held a secret that nobody can ask for again.
        return parse(NewSubscription, self._session.send_once("POST", "subscriptions", json=sent))

    def list_subscriptions(self) -> list[SubscriptionSummary]:
        """All subscriptions, the newest first."""
        page = self._get(Page[SubscriptionSummary], "subscriptions")
        return page.items

    def unsubscribe(self, subscription_id: str) -> None:
        """Delete a subscription; what waits to be delivered is not sent any more."""
        self._session.send("DELETE", f"subscriptions/{subscription_id}")

    def pause_subscription(self, subscription_id: str) -> SubscriptionSummary:
        """Have nothing told until `resume_subscription`; what happens meanwhile is not told later."""
        return parse(SubscriptionSummary, self._session.send("POST", f"subscriptions/{subscription_id}/pause"))

    def resume_subscription(self, subscription_id: str) -> SubscriptionSummary:
        """Tell again of what happens from now on."""
        return parse(SubscriptionSummary, self._session.send("POST", f"subscriptions/{subscription_id}/resume"))

    def test_subscription(self, subscription_id: str) -> DeliverySummary:
        """Have a test delivered; `list_deliveries` tells what came of it."""
        reply = self._session.send_once("POST", f"subscriptions/{subscription_id}/test")
        return parse(DeliverySummary, reply)

    def list_deliveries(self, subscription_id: str) -> list[DeliverySummary]:
        """The newest 200 deliveries of a subscription, the newest first."""
        page = self._get(Page[DeliverySummary], f"subscriptions/{subscription_id}/deliveries")
        return page.items

    def create_token(self, name: str, role: TokenRole = "viewer", days: int = 30) -> NewToken:
        """Make a personal access token of yours; the reply is the only place where it is ever shown."""
        request = TokenRequest(name=name, role=role, days=days)
        return parse(NewToken, self._session.send_once("POST", "tokens", json=request.model_dump(mode="json")))

    def list_tokens(self, *, everyone: bool = False) -> list[TokenSummary]:
        """Your personal access tokens, without the tokens; `everyone`, for administrators: all there are."""
        page = self._get(Page[TokenSummary], "tokens", everyone=everyone)
        return page.items

    def revoke_token(self, token_id: str) -> None:
        """End a token's validity."""
        self._session.send("DELETE", f"tokens/{token_id}")

    def _act(self, experiment_id: str, action: str) -> ExperimentSummary:
        return parse(ExperimentSummary, self._session.send("POST", f"experiments/{experiment_id}/{action}"))

    def _patch(self, path: str, change: Annotation) -> httpx.Response:
        return self._session.send("PATCH", path, json=change.model_dump(mode="json", exclude_none=True))

    def _get(self, model: type[Model], path: str, **params: Any) -> Model:
        return parse(model, self._session.send("GET", path, params=params))

    def _get_json(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        asked = {name: value for name, value in params.items() if value is not None}
        return self._get(JsonDocument, path, **asked).root

    def _list(self, model: type[Model], path: str, **params: Any) -> Iterator[Model]:
        asked = {name: value for name, value in params.items() if value is not None} | {"limit": sync_session.PAGE}
        page_model = Page[model]  # type: ignore[valid-type]
        while True:
            page = self._get(page_model, path, **asked)
            yield from page.items
            if page.next_cursor is None:
                return
            asked["cursor"] = page.next_cursor
