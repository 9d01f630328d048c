"""Live events (server-sent), read from the database, so that any replica of the controller serves them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from fastapi.sse import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from paploss.client.states import FINAL_EXPERIMENT_STATES
from paploss.controller.api import views
from paploss.controller.api.problems import ProblemError
from paploss.controller.store.database import Database
from paploss.controller.store.errors import NotFoundError
from paploss.controller.store.reading import lists
from paploss.controller.store.tables import Event

POLL_SECONDS = 1.0
RECONNECT_MILLISECONDS = 3000
MOST_OF_ONE, MOST_OF_ALL = 64, 256
OVERLAP = 200
"""Each poll reads again the lines whose ids are at most this much lower than the newest: under PostgreSQL a line may
become visible after one with a higher id."""
MOST_LINES = 2 * OVERLAP
"""Of one poll; more than are read again, so that a full one brings news."""


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


async def stream_events(
    database: Database, experiment_id: str, last_event_id: str | None, is_admitted: Callable[[], Awaitable[bool]]
) -> AsyncIterator[ServerSentEvent]:
    """Events of one experiment until it has ended: log lines as messages with their ids, `progress`, `end`.

    Without `last_event_id` the stream starts with the next line of the log. It also ends when `is_admitted` returns
    False: the caller's key was revoked.
    """
    # Waiting is asynchronous, so that an open page holds no thread; only the short reads use one.
    start = await run_in_threadpool(_newest_event_id, database, experiment_id) if last_event_id is None else 0
    newest = int(last_event_id) if last_event_id is not None else start
    sent = set(range(max(0, newest - OVERLAP), newest + 1))
    shown = ""
    yield ServerSentEvent(retry=RECONNECT_MILLISECONDS)
    while await is_admitted():
        news = await run_in_threadpool(_read_news, database, experiment_id, max(0, newest - OVERLAP))
        if news is None:
            yield ServerSentEvent(event="end", data={"state": "deleted"})
            return
        events, progress, ended = news
        fresh = [event for event in events if event.id not in sent]
        for event in fresh:
            yield ServerSentEvent(id=str(event.id), data=views.log_line(event))
        if fresh:
            newest = max(newest, fresh[-1].id)
            sent = {number for number in sent if number >= newest - OVERLAP} | {event.id for event in fresh}
        if progress != shown:
            shown = progress
            yield ServerSentEvent(event="progress", raw_data=progress)
        if len(events) == MOST_LINES:  # there may be more
            continue
        if ended:
            yield ServerSentEvent(event="end", raw_data=progress)
            return
        await asyncio.sleep(POLL_SECONDS)


def _newest_event_id(database: Database, experiment_id: str) -> int:
    with database.read() as session:
        return max((event.id for event in lists.latest_events(session, experiment_id, 1)), default=0)


def _read_news(database: Database, experiment_id: str, after: int) -> tuple[Sequence[Event], str, bool] | None:
    """Log lines after an id, the progress as JSON, and whether the experiment has ended; None once it is deleted."""
    with database.read() as session:
        try:
            experiment = lists.get_experiment(session, experiment_id)
        except NotFoundError:
            return None
        events = lists.list_events(session, experiment_id, cursor=str(after), limit=MOST_LINES).items
        summary = views.experiment_summary(session, experiment)
        progress = summary.model_dump_json(include={"state", "stage", "trials", "trials_final", "best_ap"})
        return events, progress, experiment.state in FINAL_EXPERIMENT_STATES
