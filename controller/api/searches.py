"""Searches over HTTP."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from paploss.client.models import Best, LogLine, Page, RoundSummary, Run, SearchDetail, SearchSummary, TrialSummary
from paploss.client.specs import SearchSpec, check_paths
from paploss.client.states import SearchState, TrialState
from paploss.controller.api import problems, views
from paploss.controller.api.access import GuardedRoute, SignedIn, identify
from paploss.controller.api.events import EVENT_STREAM, stream_events
from paploss.controller.api.idempotency import IdempotencyHeader, identify_request
from paploss.controller.api.parameters import IdCursor, Limit, NumberCursor, SearchId
from paploss.controller.api.services import Injected
from paploss.controller.api.table import stream_csv
from paploss.controller.store import queries
from paploss.controller.store import searches as store
from paploss.controller.store.database import Database
from paploss.jobs.spec import JobKind

LastEventId = Annotated[str | None, Header(pattern=r"^[0-9]{1,18}$", description="go on after this line of the log")]

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1/searches", tags=["searches"])

_EVENT = {
    "type": "object",
    "description": "one of the events",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}


def _text(media_type: str) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that answers with text of another kind than JSON."""
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems.documented(404, 409))
def create(
    spec: SearchSpec,
    services: Injected,
    caller: SignedIn,
    response: Response,
    idempotency_key: IdempotencyHeader = None,
) -> SearchDetail:
    """Start a search."""
    check_paths(spec, services.settings.data_roots)
    with services.database.write() as session:
        idempotency = identify_request(idempotency_key, "search", spec)
        search = store.create_search(session, spec, caller.name, idempotency)
        detail = views.search_detail(session, search)
    services.driver.wake()
    response.headers["Location"] = f"/api/v1/searches/{detail.id}"
    return detail


@router.get("")
def list_all(
    services: Injected, state: SearchState | None = None, cursor: IdCursor = None, limit: Limit = 50
) -> Page[SearchSummary]:
    """Searches, newest first."""
    with services.database.read() as session:
        page = queries.list_searches(session, kind="search", state=state, cursor=cursor, limit=limit)
        return Page(items=views.search_summaries(session, page.items), next_cursor=page.next_cursor)


@router.get("/{search_id}", responses=problems.documented(404))
def get(search_id: SearchId, services: Injected) -> SearchDetail:
    """One search."""
    with services.database.read() as session:
        return views.search_detail(session, queries.get_search(session, search_id, "search"))


@router.delete("/{search_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems.documented(404, 409))
def delete(search_id: SearchId, services: Injected) -> None:
    """Delete a search or a training request that has ended, with its trials, results and log."""
    with services.database.write() as session:
        store.delete_search(session, search_id)


@router.post("/{search_id}/pause", responses=problems.documented(404, 409))
def pause(search_id: SearchId, services: Injected) -> Run:
    """Let nothing more be claimed; running trials are handed back with a checkpoint."""
    with services.database.write() as session:
        return views.run(session, store.pause_search(session, search_id))


@router.post("/{search_id}/resume", responses=problems.documented(404, 409))
def resume(search_id: SearchId, services: Injected) -> Run:
    """Go on after a pause."""
    with services.database.write() as session:
        run = views.run(session, store.resume_search(session, search_id))
    services.driver.wake()
    return run


@router.post("/{search_id}/cancel", responses=problems.documented(404, 409))
def cancel(search_id: SearchId, services: Injected) -> Run:
    """End the search and all its open trials, for good."""
    with services.database.write() as session:
        return views.run(session, store.cancel_search(session, search_id))


@router.get("/{search_id}/best", responses=problems.documented(404))
def best(search_id: SearchId, services: Injected) -> Best:
    """The best loss so far. 404 until a trial has a reward."""
    with services.database.read() as session:
        return views.best(session, queries.get_search(session, search_id, "search"))


@router.get("/{search_id}/trials", responses=problems.documented(404))
def list_trials(
    search_id: SearchId,
    services: Injected,
    *,
    state: TrialState | None = None,
    kind: JobKind | None = None,
    round: Annotated[int | None, Query(ge=0, lt=2**31)] = None,  # noqa: A002 (the term of the design)
    newest_first: bool = False,
    cursor: NumberCursor = None,
    limit: Limit = 50,
) -> Page[TrialSummary]:
    """The trials of a search or a training request, by number."""
    with services.database.read() as session:
        queries.get_search(session, search_id)
        page = queries.list_trials(
            session,
            search_id,
            state=state,
            kind=kind,
            round=round,
            cursor=cursor,
            limit=limit,
            newest_first=newest_first,
        )
        return Page(items=[views.trial_summary(trial) for trial in page.items], next_cursor=page.next_cursor)


@router.get(
    "/{search_id}/trials.csv",
    response_class=StreamingResponse,
    responses=_text("text/csv") | problems.documented(404),
)
def download_trials(search_id: SearchId, services: Injected) -> StreamingResponse:
    """All trials of a search or a training request as CSV."""
    with services.database.read() as session:
        queries.get_search(session, search_id)
    headers = {"Content-Disposition": f'attachment; filename="trials-{search_id}.csv"'}
    rows = stream_csv(services.database, search_id)
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/{search_id}/rounds", responses=problems.documented(404))
def list_rounds(
    search_id: SearchId, services: Injected, cursor: NumberCursor = None, limit: Limit = 200
) -> Page[RoundSummary]:
    """The policy versions of a search, by number."""
    with services.database.read() as session:
        queries.get_search(session, search_id, "search")
        page = queries.list_rounds(session, search_id, cursor, limit)
        return Page(items=[views.round_summary(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/{search_id}/log", responses=problems.documented(404))
def read_log(search_id: SearchId, services: Injected, cursor: NumberCursor = None, limit: Limit = 200) -> Page[LogLine]:
    """The event log, oldest line first; the cursor of the last page asks later for what is new."""
    with services.database.read() as session:
        queries.get_search(session, search_id)
        page = queries.list_events(session, search_id=search_id, cursor=cursor, limit=limit)
        return Page(items=[views.log_line(event) for event in page.items], next_cursor=page.next_cursor)


@router.get(
    "/{search_id}/events",
    response_class=StreamingResponse,
    responses=problems.documented(404) | {200: {"content": {EVENT_STREAM: {"schema": _EVENT}}}},
)
async def follow(
    search_id: SearchId, request: Request, services: Injected, caller: SignedIn, last_event_id: LastEventId = None
) -> StreamingResponse:
    """Live events (server-sent): every new line of the log, `progress` when the trials' states have changed, `end`
    when the search has ended. Send Last-Event-ID to go on after a broken connection."""
    services.streams.check_room(caller.name)
    await run_in_threadpool(_check_exists, services.database, search_id)

    async def is_welcome() -> bool:
        return await identify(request, services.callers) is not None

    async def stream() -> AsyncIterator[str]:
        with services.streams.counted(caller.name):
            async for message in stream_events(services.database, search_id, last_event_id, is_welcome):
                yield message

    return StreamingResponse(stream(), media_type=EVENT_STREAM)


def _check_exists(database: Database, search_id: str) -> None:
    with database.read() as session:
        queries.get_search(session, search_id)
