"""Live events (server-sent), read from the database, so that any replica of the controller serves them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from paploss.client.states import FINAL_EXPERIMENT_STATES
from paploss.controller.api import views
from paploss.controller.api.problems import ProblemError
from paploss.controller.store.database import Database
from paploss.controller.store.errors import NotFoundError
from paploss.controller.store.reading import lists
from paploss.controller.store.tables import Event

EVENT_STREAM = "text/event-stream"
POLL_SECONDS = 1.0
SILENCE_POLLS = 15
"""A comment goes out after so many polls without news, so that proxies keep the connection open."""
MOST_OF_ONE, MOST_OF_ALL = 64, 256
OVERLAP = 200
"""Under PostgreSQL a line may become visible after one with a higher id: so many ids back are looked at again."""


class Streams:
    """The streams that are open at this replica. Used by the event loop alone."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def counted(self, owner: str) -> Iterator[None]:
        """While it lasts, `owner` has one stream more. Each asks the database every second, so their number is limited.

        Raises:
            ProblemError: 429, so many are open under this key, or under all keys together.
        """
        if self._open[owner] >= MOST_OF_ONE or self._open.total() >= MOST_OF_ALL:
            detail = f"{self._open[owner]} event streams are open under key {owner!r}, {self._open.total()} in all"
            raise ProblemError(429, detail, headers={"Retry-After": "30"})
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]


class CountedStream(StreamingResponse):
    """An event stream that counts from before its first byte to its end, and is refused where there are too many."""

    def __init__(self, streams: Streams, owner: str, content: AsyncIterator[str]) -> None:
        super().__init__(content, media_type=EVENT_STREAM)
        self._streams = streams
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until the experiment has ended or the listener has gone."""
        with self._streams.counted(self._owner):
            await super().__call__(scope, receive, send)


async def stream_events(
    database: Database, experiment_id: str, last_event_id: str | None, is_admitted: Callable[[], Awaitable[bool]]
) -> AsyncIterator[str]:
    """Server-sent events of one experiment until it has ended: log lines as plain messages with their ids, `progress`,
    `end`. Without `last_event_id` it starts with what happens from now on. It also ends when `is_admitted` says no:
    the listener's key was revoked."""
    # Waiting is asynchronous, so that an open page holds no thread; only the short reads use one.
    start = await run_in_threadpool(_newest_event_id, database, experiment_id) if last_event_id is None else 0
    newest = int(last_event_id) if last_event_id is not None else start
    sent = set(range(max(0, newest - OVERLAP), newest + 1))
    shown = ""
    silent = 0
    yield "retry: 3000\n\n"
    while await is_admitted():
        news = await run_in_threadpool(_read_news, database, experiment_id, max(0, newest - OVERLAP))
        if news is None:
            yield _message("end", json.dumps({"state": "deleted"}))
            return
        events, progress, ended = news
        fresh = [event for event in events if event.id not in sent]
        for event in fresh:
            yield _message(None, views.log_line(event).model_dump_json(), event.id)
        if fresh:
            newest = max(newest, fresh[-1].id)
            sent = {number for number in sent if number >= newest - OVERLAP} | {event.id for event in fresh}
        if progress != shown:
            shown = progress
            yield _message("progress", progress)
        if ended:
            yield _message("end", progress)
            return
        silent = 0 if fresh else silent + 1
        if silent >= SILENCE_POLLS:
            silent = 0
            yield ": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)


def _newest_event_id(database: Database, experiment_id: str) -> int:
    with database.read() as session:
        return max((event.id for event in lists.latest_events(session, experiment_id, 1)), default=0)


def _read_news(database: Database, experiment_id: str, after: int) -> tuple[Sequence[Event], str, bool] | None:
    """Log lines after an id, the progress as JSON, and whether that is the end; none once the search is deleted."""
    with database.read() as session:
        try:
            experiment = lists.get_experiment(session, experiment_id)
        except NotFoundError:
            return None
        events = lists.list_events(session, experiment_id=experiment_id, cursor=str(after), limit=2 * OVERLAP).items
        summary = views.experiment_summary(session, experiment)
        progress = summary.model_dump_json(include={"state", "stage", "trials", "trials_final", "best_ap"})
        return events, progress, experiment.state in FINAL_EXPERIMENT_STATES


def _message(event: str | None, data: str, event_id: int | None = None) -> str:
    lines = [f"id: {event_id}"] if event_id is not None else []
    lines += [f"event: {event}"] if event is not None else []
    return "\n".join([*lines, f"data: {data}", "", ""])
