"""A typed client of the controller's REST interface for asyncio; `paploss.client.sync_client` is the same without.

    async with AsyncClient("http://127.0.0.1:8080", key) as client:
        search = await client.create(SearchSpec(profile="retinanet-tiny"))
        await client.wait(search.id, lambda run: print(run.trials_final, run.best_ap))
        print((await client.best(search.id)).ap)

Lists go on over pages by themselves. Requests are repeated where the controller cannot be reached or is not ready, and
that is safe: what creates something carries an Idempotency-Key.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Self

import httpx

from paploss.client import async_session
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

__all__ = ["ApiError", "AsyncClient", "ClientError", "UnreachableError"]

FILE_TIMEOUT = httpx.Timeout(600, connect=5)
PATIENCE_SECONDS = 120.0


class AsyncClient:
    """Connections to one controller. Safe to share between tasks.

    Every method raises ApiError where the controller refuses, and UnreachableError where it does not answer.
    """

    def __init__(self, url: str, key: str, *, attempts: int = async_session.ATTEMPTS) -> None:
        """`url`: of the controller, without a path; `attempts`: how often a request is tried at most."""
        self._session = async_session.AsyncSession(url, key, attempts=attempts)
        self.url = self._session.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def create(
        self, spec: ExperimentSpec, idempotency_key: str | None = None, *, project: str | None = None
    ) -> ExperimentDetail:
        """Start a search, a comparison or trainings; the same `idempotency_key` again gives the same experiment.

        `project`: what it belongs to, for keys that are for all; by default that of the key, or `default`.
        """
        options: dict[str, Any] = {"headers": {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}}
        if project is not None:
            options["params"] = {"project": project}
        reply = await self._session.send("POST", "experiments", json=spec.model_dump(mode="json"), **options)
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
    ) -> AsyncIterator[ExperimentSummary]:
        """Experiments that meet every condition, newest first; `text` is looked for in id, name, tags and note."""
        exact = {"kind": kind, "state": state, "tag": tag, "profile": profile, "dataset": dataset, "owner": owner}
        exact["project"] = project
        return self._list(ExperimentSummary, "experiments", text=text, archived=archived, **exact)

    async def get_experiment(self, experiment_id: str) -> ExperimentDetail:
        """One experiment with its request and its results."""
        return await self._get(ExperimentDetail, f"experiments/{experiment_id}")

    async def annotate(
        self,
        experiment_id: str,
        *,
        note: str | None = None,
        tags: Sequence[str] | None = None,
        archived: bool | None = None,
    ) -> ExperimentDetail:
        """Change the note (Markdown), all tags, or whether lists hide it; None leaves them as they are."""
        change = ExperimentAnnotation(note=note, tags=None if tags is None else tuple(tags), archived=archived)
        return parse(ExperimentDetail, await self._patch(f"experiments/{experiment_id}", change))

    async def annotate_trial(
        self, trial_id: str, *, note: str | None = None, tags: Sequence[str] | None = None
    ) -> TrialDetail:
        """Change the note (Markdown) or all tags of a trial; None leaves them as they are."""
        change = Annotation(note=note, tags=None if tags is None else tuple(tags))
        return parse(TrialDetail, await self._patch(f"trials/{trial_id}", change))

    async def pause(self, experiment_id: str) -> ExperimentSummary:
        """Let nothing more be claimed; running trials are released with a checkpoint."""
        return await self._act(experiment_id, "pause")

    async def resume(self, experiment_id: str) -> ExperimentSummary:
        """Go on after a pause."""
        return await self._act(experiment_id, "resume")

    async def cancel(self, experiment_id: str) -> ExperimentSummary:
        """End it and its open trials, for good."""
        return await self._act(experiment_id, "cancel")

    async def delete(self, experiment_id: str) -> None:
        """Delete it with all that belongs to it, once it has ended."""
        await self._session.send("DELETE", f"experiments/{experiment_id}")

    async def dump(self, experiment_id: str) -> bytes:
        """An experiment with all that belongs to it, as the content of a file for `load`."""
        return (await self._session.send("GET", f"experiments/{experiment_id}/dump", timeout=FILE_TIMEOUT)).content

    async def load(self, content: bytes, *, project: str | None = None) -> ExperimentSummary:
        """Store what `dump` gave, in a project or in its own; one that had not ended is paused."""
        options: dict[str, Any] = {"content": content, "timeout": FILE_TIMEOUT}
        if project is not None:
            options["params"] = {"project": project}
        # Not repeated: the second time, what the first had stored would be refused.
        reply = await self._session.send_once("POST", "experiments/load", **options)
        return parse(ExperimentSummary, reply)

    async def best(self, experiment_id: str) -> Best:
        """The best loss of a search so far; ApiError 404 until a trial has a reward."""
        return await self._get(Best, f"experiments/{experiment_id}/best")

    def trials(
        self,
        experiment_id: str,
        *,
        state: TrialState | None = None,
        kind: JobKind | None = None,
        round: int | None = None,  # noqa: A002 (the term of the design)
    ) -> AsyncIterator[TrialSummary]:
        """Trials by number."""
        return self._list(TrialSummary, f"experiments/{experiment_id}/trials", state=state, kind=kind, round=round)

    def rounds(self, experiment_id: str) -> AsyncIterator[RoundSummary]:
        """The versions of a search's algorithm, by number."""
        return self._list(RoundSummary, f"experiments/{experiment_id}/rounds")

    async def log(self, experiment_id: str, after: int = 0) -> AsyncIterator[LogLine]:
        """The event log, oldest line first, from the line after the one with the id `after`."""
        path, cursor = f"experiments/{experiment_id}/log", str(after)
        while True:
            page = await self._get(Page[LogLine], path, cursor=cursor, limit=async_session.PAGE)
            if not page.items:
                return
            for line in page.items:
                yield line
            cursor = str(page.items[-1].id)

    async def get_trial(self, trial_id: str) -> TrialDetail:
        """One trial with its loss, learning curve and attempts."""
        return await self._get(TrialDetail, f"trials/{trial_id}")

    async def cancel_trial(self, trial_id: str) -> TrialDetail:
        """End one trial without a reward; its search goes on without it."""
        return parse(TrialDetail, await self._session.send("POST", f"trials/{trial_id}/cancel"))

    async def detections(self, experiment_id: str, labels: Sequence[str] = ()) -> Detections:
        """What trainings with up to two losses detected, by default the two best; ApiError 404 where none is known."""
        return await self._get(Detections, f"experiments/{experiment_id}/detections", label=list(labels))

    async def trial_detections(self, trial_id: str) -> LossDetections:
        """What one trial detected; ApiError 404 if it was not analysed."""
        return await self._get(LossDetections, f"trials/{trial_id}/detections")

    async def thumbnail(self, experiment_id: str, digest: str) -> bytes:
        """The JPEG of a picture."""
        return (await self._session.send("GET", f"experiments/{experiment_id}/thumbnails/{digest}")).content

    async def figure(
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
        return await self._get_json(f"experiments/{experiment_id}/figures/{name}", options)

    async def compared_figure(
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
        return await self._get_json(f"figures/{name}", options)

    async def trial_figure(
        self, trial_id: str, name: TrialFigure, *, theme: Theme = "light", head: str | None = None, columns: int = 5
    ) -> Figure:
        """A figure of a trial, as `figure`."""
        options = {"theme": theme, "head": head, "columns": columns}
        return await self._get_json(f"trials/{trial_id}/figures/{name}", options)

    async def wait(
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
                found = await self.get_experiment(experiment_id)
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
            await asyncio.sleep(pause_seconds)

    async def estimate(self, spec: SearchSpec) -> Estimate:
        """What a search would cost, from the newest one that trained alike. Nothing is started."""
        reply = await self._session.send("POST", "experiments/estimate", json=spec.model_dump(mode="json"))
        return parse(Estimate, reply)

    async def comparison(self, experiment_id: str) -> Comparison:
        """The losses of a comparison, or of trainings, beside each other, as far as they have got."""
        return await self._get(Comparison, f"experiments/{experiment_id}/comparison")

    # The platform.

    def workers(self) -> AsyncIterator[WorkerSummary]:
        """Workers by name, with what each does."""
        return self._list(WorkerSummary, "workers")

    async def status(self) -> Status:
        """The platform at a glance."""
        return await self._get(Status, "status")

    async def create_key(self, name: str, role: Role, *, project: str | None = DEFAULT_PROJECT) -> NewKey:
        """Make an API key; the reply is the only place where it is ever shown. `project`: None for all."""
        request = KeyRequest(name=name, role=role, project=project)
        # Not repeated: the first reply, if it was lost, held a key that nobody can ask for again.
        return parse(NewKey, await self._session.send_once("POST", "keys", json=request.model_dump(mode="json")))

    async def list_keys(self) -> list[KeySummary]:
        """All API keys, without the keys."""
        page = await self._get(Page[KeySummary], "keys")
        return page.items

    async def revoke_key(self, name: str) -> None:
        """End a key's validity."""
        await self._session.send("DELETE", f"keys/{name}")

    async def create_project(self, request: ProjectRequest) -> ProjectSummary:
        """Make a project."""
        document = request.model_dump(mode="json")
        return parse(ProjectSummary, await self._session.send_once("POST", "projects", json=document))

    async def list_projects(self) -> list[ProjectSummary]:
        """The projects that your key sees, with what they may use and what they have used."""
        page = await self._get(Page[ProjectSummary], "projects")
        return page.items

    async def change_project(self, name: str, change: ProjectChange) -> ProjectSummary:
        """Set all that a project may use; what is left out has no limit from now on."""
        document = change.model_dump(mode="json")
        return parse(ProjectSummary, await self._session.send("PUT", f"projects/{name}", json=document))

    async def delete_project(self, name: str) -> None:
        """Delete a project that nothing belongs to."""
        await self._session.send("DELETE", f"projects/{name}")

    async def subscribe(self, request: SubscriptionRequest) -> NewSubscription:
        """Ask to be told; the reply is the only place where a webhook's secret is ever shown."""
        sent = request.model_dump(mode="json")
        # Not repeated: the first reply, if it was lost, held a secret that nobody can ask for again.
        return parse(NewSubscription, await self._session.send_once("POST", "subscriptions", json=sent))

    async def list_subscriptions(self) -> list[SubscriptionSummary]:
        """All subscriptions, the newest first."""
        page = await self._get(Page[SubscriptionSummary], "subscriptions")
        return page.items

    async def unsubscribe(self, subscription_id: str) -> None:
        """Delete a subscription; what waits to be delivered is not sent any more."""
        await self._session.send("DELETE", f"subscriptions/{subscription_id}")

    async def pause_subscription(self, subscription_id: str) -> SubscriptionSummary:
        """Have nothing told until `resume_subscription`; what happens meanwhile is not told later."""
        return parse(SubscriptionSummary, await self._session.send("POST", f"subscriptions/{subscription_id}/pause"))

    async def resume_subscription(self, subscription_id: str) -> SubscriptionSummary:
        """Tell again of what happens from now on."""
        return parse(SubscriptionSummary, await self._session.send("POST", f"subscriptions/{subscription_id}/resume"))

    async def test_subscription(self, subscription_id: str) -> DeliverySummary:
        """Have a test delivered; `list_deliveries` tells what came of it."""
        reply = await self._session.send_once("POST", f"subscriptions/{subscription_id}/test")
        return parse(DeliverySummary, reply)

    async def list_deliveries(self, subscription_id: str) -> list[DeliverySummary]:
        """The newest 200 deliveries of a subscription, the newest first."""
        page = await self._get(Page[DeliverySummary], f"subscriptions/{subscription_id}/deliveries")
        return page.items

    async def create_token(self, name: str, role: TokenRole = "viewer", days: int = 30) -> NewToken:
        """Make a personal access token of yours; the reply is the only place where it is ever shown."""
        request = TokenRequest(name=name, role=role, days=days)
        return parse(NewToken, await self._session.send_once("POST", "tokens", json=request.model_dump(mode="json")))

    async def list_tokens(self, *, everyone: bool = False) -> list[TokenSummary]:
        """Your personal access tokens, without the tokens; `everyone`, for administrators: all there are."""
        page = await self._get(Page[TokenSummary], "tokens", everyone=everyone)
        return page.items

    async def revoke_token(self, token_id: str) -> None:
        """End a token's validity."""
        await self._session.send("DELETE", f"tokens/{token_id}")

    async def _act(self, experiment_id: str, action: str) -> ExperimentSummary:
        return parse(ExperimentSummary, await self._session.send("POST", f"experiments/{experiment_id}/{action}"))

    async def _patch(self, path: str, change: Annotation) -> httpx.Response:
        return await self._session.send("PATCH", path, json=change.model_dump(mode="json", exclude_none=True))

    async def _get(self, model: type[Model], path: str, **params: Any) -> Model:
        return parse(model, await self._session.send("GET", path, params=params))

    async def _get_json(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        asked = {name: value for name, value in params.items() if value is not None}
        return (await self._get(JsonDocument, path, **asked)).root

    async def _list(self, model: type[Model], path: str, **params: Any) -> AsyncIterator[Model]:
        asked = {name: value for name, value in params.items() if value is not None} | {"limit": async_session.PAGE}
        page_model = Page[model]  # type: ignore[valid-type]
        while True:
            page = await self._get(page_model, path, **asked)
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            asked["cursor"] = page.next_cursor
