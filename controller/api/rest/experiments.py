"""Experiments over HTTP, whatever their kind."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from paploss.client.annotations import ExperimentAnnotation
from paploss.client.estimates import Estimate
from paploss.client.models import (
    Best,
    ExperimentDetail,
    ExperimentSummary,
    LogLine,
    Page,
    RoundSummary,
    TrialSummary,
)
from paploss.client.specs import ExperimentSpec, SearchSpec
from paploss.client.states import Archived, ExperimentKind, ExperimentState, TrialState
from paploss.controller.api import estimates, problems, views
from paploss.controller.api.events import stream_events
from paploss.controller.api.idempotency import IdempotencyHeader, identify_request
from paploss.controller.api.parameters import ExperimentId, IdCursor, Limit, ListText, NumberCursor
from paploss.controller.api.projects import ProjectChoice, read_data_roots, start_in
from paploss.controller.api.security.access import AuthorizedRoute, SignedIn, identify
from paploss.controller.api.services import Injected
from paploss.controller.api.table import stream_csv
from paploss.controller.data_roots import check_files
from paploss.controller.experiments import creation
from paploss.controller.store import experiments as store
from paploss.controller.store.annotations import annotate_experiment
from paploss.controller.store.database import Database
from paploss.controller.store.reading import lists
from paploss.controller.store.reading.experiments import ExperimentFilter, list_experiments
from paploss.jobs.spec import JobKind

LastEventId = Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$", description="continue after this line of the log")]

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1/experiments", tags=["experiments"])


def _text(media_type: str) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that answers with text of another kind than JSON."""
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems.documented(404, 409))
def create(
    spec: Annotated[ExperimentSpec, Body()],
    services: Injected,
    caller: SignedIn,
    response: Response,
    *,
    project: ProjectChoice = None,
    idempotency_key: IdempotencyHeader = None,
) -> ExperimentDetail:
    """Start an experiment: a search, a comparison or trainings, as its `kind` says, which is needed here."""
    there = start_in(services, caller, project)
    check_files(spec, read_data_roots(there))
    with there.database.write() as session:
        idempotency = identify_request(idempotency_key, spec)
        experiment = creation.create(session, spec, caller.name, idempotency)
        detail = views.experiment_detail(session, experiment)
    services.driver.wake()
    response.headers["Location"] = f"/api/v1/experiments/{detail.id}"
    return detail


@router.post("/estimate")
def estimate(spec: Annotated[SearchSpec, Body()], services: Injected) -> Estimate:
    """What a search would cost, from the newest search that trained alike. Nothing is started."""
    with services.database.read() as session:
        return estimates.estimate(session, spec)


@router.get("")
def list_all(
    services: Injected,
    *,
    kind: ExperimentKind | None = None,
    state: ExperimentState | None = None,
    text: ListText = "",
    tag: ListText = "",
    profile: ListText = "",
    dataset: ListText = "",
    owner: ListText = "",
    project: ListText = "",
    archived: Annotated[Archived, Query(description="`no` hides what is archived, `only` shows it alone")] = "no",
    cursor: IdCursor = None,
    limit: Limit = 50,
) -> Page[ExperimentSummary]:
    """Experiments, newest first, that meet every condition given; `text` is looked for in id, name, tags and note."""
    chosen = ExperimentFilter(
        kinds=() if kind is None else (kind,),
        state=state,
        text=text,
        tag=tag,
        profile=profile,
        dataset=dataset,
        owner=owner,
        project=project,
        archived=archived,
    )
    with services.database.read() as session:
        page = list_experiments(session, chosen, cursor=cursor, limit=limit)
        return Page(items=views.experiment_summaries(session, page.items), next_cursor=page.next_cursor)


@router.get("/{experiment_id}", responses=problems.documented(404))
def get(experiment_id: ExperimentId, services: Injected) -> ExperimentDetail:
    """One experiment."""
    with services.database.read() as session:
        return views.experiment_detail(session, lists.get_experiment(session, experiment_id))


@router.patch("/{experiment_id}", responses=problems.documented(404, 409))
def annotate(
    experiment_id: ExperimentId, annotation: Annotated[ExperimentAnnotation, Body()], services: Injected
) -> ExperimentDetail:
    """Change the note, the tags, or whether lists hide an experiment; what is left out or null stays."""
    with services.database.write() as session:
        return views.experiment_detail(session, annotate_experiment(session, experiment_id, annotation))


@router.delete("/{experiment_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems.documented(404, 409))
def delete(experiment_id: ExperimentId, services: Injected) -> None:
    """Delete an experiment that has ended, with its trials, results and log; of a large one this takes minutes."""
    store.delete_experiment(services.database, experiment_id)


@router.post("/{experiment_id}/pause", responses=problems.documented(404, 409))
def pause(experiment_id: ExperimentId, services: Injected) -> ExperimentSummary:
    """Pause an experiment: no trial is claimed, and running ones are released with a checkpoint."""
    with services.database.write() as session:
        return views.experiment_summary(session, store.pause_experiment(session, experiment_id))


@router.post("/{experiment_id}/resume", responses=problems.documented(404, 409))
def resume(experiment_id: ExperimentId, services: Injected) -> ExperimentSummary:
    """Resume an experiment after a pause."""
    with services.database.write() as session:
        summary = views.experiment_summary(session, store.resume_experiment(session, experiment_id))
    services.driver.wake()
    return summary


@router.post("/{experiment_id}/cancel", responses=problems.documented(404, 409))
def cancel(experiment_id: ExperimentId, services: Injected) -> ExperimentSummary:
    """Cancel an experiment and all its open trials, for good."""
    with services.database.write() as session:
        return views.experiment_summary(session, store.cancel_experiment(session, experiment_id))


@router.get("/{experiment_id}/best", responses=problems.documented(404))
def best(experiment_id: ExperimentId, services: Injected) -> Best:
    """The best loss of a search so far. 404 until a trial has a reward."""
    with services.database.read() as session:
        return views.best(session, lists.get_experiment(session, experiment_id, "search"))


@router.get("/{experiment_id}/trials", responses=problems.documented(404))
def list_trials(
    experiment_id: ExperimentId,
    services: Injected,
    *,
    state: TrialState | None = None,
    kind: JobKind | None = None,
    round: Annotated[int | None, Query(ge=0, lt=2**31)] = None,  # noqa: A002 (the term of the design)
    newest_first: bool = False,
    cursor: NumberCursor = None,
    limit: Limit = 50,
) -> Page[TrialSummary]:
    """The trials of an experiment, by number."""
    with services.database.read() as session:
        lists.get_experiment(session, experiment_id)
        page = lists.list_trials(
            session,
            experiment_id,
            state=state,
            kind=kind,
            round=round,
            cursor=cursor,
            limit=limit,
            newest_first=newest_first,
        )
        return Page(items=[views.trial_summary(trial) for trial in page.items], next_cursor=page.next_cursor)


@router.get(
    "/{experiment_id}/trials.csv",
    response_class=StreamingResponse,
    responses=_text("text/csv") | problems.documented(404),
)
def download_trials(experiment_id: ExperimentId, services: Injected) -> StreamingResponse:
    """All trials of an experiment as CSV."""
    with services.database.read() as session:
        lists.get_experiment(session, experiment_id)
    headers = {"Content-Disposition": f'attachment; filename="trials-{experiment_id}.csv"'}
    rows = stream_csv(services.database, experiment_id)
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/{experiment_id}/rounds", responses=problems.documented(404))
def list_rounds(
    experiment_id: ExperimentId, services: Injected, cursor: NumberCursor = None, limit: Limit = 200
) -> Page[RoundSummary]:
    """The versions of a search's algorithm, by number."""
    with services.database.read() as session:
        lists.get_experiment(session, experiment_id, "search")
        page = lists.list_rounds(session, experiment_id, cursor, limit)
        return Page(items=[views.round_summary(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/{experiment_id}/log", responses=problems.documented(404))
def read_log(
    experiment_id: ExperimentId, services: Injected, cursor: NumberCursor = None, limit: Limit = 200
) -> Page[LogLine]:
    """The event log, oldest line first; the cursor of the last page serves to ask later for new lines."""
    with services.database.read() as session:
        lists.get_experiment(session, experiment_id)
        page = lists.list_events(session, experiment_id, cursor, limit)
        return Page(items=[views.log_line(event) for event in page.items], next_cursor=page.next_cursor)


async def _open_stream(experiment_id: ExperimentId, services: Injected, caller: SignedIn) -> AsyncIterator[None]:
    """Refuse a stream before its response starts; count it until it ends."""
    await run_in_threadpool(_check_exists, services.database, experiment_id)
    with services.streams.counted(caller.name):
        yield


@router.get(
    "/{experiment_id}/events",
    response_class=EventSourceResponse,
    responses=problems.documented(404),
    dependencies=[Depends(_open_stream)],
)
async def follow(
    experiment_id: ExperimentId,
    request: Request,
    services: Injected,
    caller: SignedIn,
    last_event_id: LastEventId = None,
) -> AsyncIterator[ServerSentEvent]:
    """Live events (server-sent): every new line of the log, `progress` when the trials' states have changed, `end`
    when the experiment has ended. Send Last-Event-ID to continue after a broken connection."""

    async def is_admitted() -> bool:
        now = await identify(request, services.callers)
        return now is not None and now.project == caller.project

    async for event in stream_events(services.database, experiment_id, last_event_id, is_admitted):
        yield event


def _check_exists(database: Database, experiment_id: str) -> None:
    with database.read() as session:
        lists.get_experiment(session, experiment_id)
