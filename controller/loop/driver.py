"""The leader's loop: expire leases, advance every search, keep the queues filled; then the same again.

Nothing that matters is kept between two ticks but who leads: each tick reads where things stand, so a driver may be
killed at any point, and another one goes on. What it remembers, how fast trials go for instance, saves it work or makes
it propose and feed a little more.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from paploss.controller.loop import confirmation, feed, rounds, trainings
from paploss.controller.loop.counts import Counts, count_open, count_trials
from paploss.controller.loop.jobs import parse_request, parse_search
from paploss.controller.loop.rounds import Pace
from paploss.controller.search.scheduling import Wait
from paploss.controller.settings import Settings
from paploss.controller.store import retention, transitions
from paploss.controller.store.database import Database, now
from paploss.controller.store.errors import LeadershipLostError
from paploss.controller.store.events import record
from paploss.controller.store.leadership import Term, acquire, drive, new_holder, resign
from paploss.controller.store.models import Search, Trial
from paploss.controller.store.searches import end_search, lock_search
from paploss.jobs.queue import QueueError, TrialQueue

logger = logging.getLogger(__name__)

REST, LEAST_REST_SECONDS = 1.5, 0.1
"""The loop rests so many times as long as its tick took, and at least so long, but at most `tick_seconds`: many results
a second wake it without end, a tick for many of them costs little more than for one, and the processor is for their
requests too."""

CLEAR_SECONDS = 3600.0
"""So often the leader looks for what was kept long enough."""

LIVE_CONSUMER_SECONDS = 60.0
"""A worker that has not asked for a trial for so long, and runs none, is not counted on."""


def connect(settings: Settings) -> tuple[Database, TrialQueue]:
    """The database and the queue, as a driver needs them. Nothing is connected yet."""
    database = Database(settings.resolved_database_url, silent_seconds=2 * settings.leader_lease_seconds)
    # A term must outlast the silence of a Redis that hangs.
    return database, TrialQueue(settings.redis_url, answer_seconds=settings.leader_lease_seconds / 3)


class Loop(Protocol):
    """The leader's loop, wherever it runs."""

    @property
    def leads(self) -> bool:
        """Whether it drives at this moment."""

    def run(self) -> None:
        """Go on until `stop` is called."""

    def wake(self) -> None:
        """Ask for a look now: something has changed. Callable from any thread."""

    def stop(self) -> None:
        """End `run` after the tick that it is in."""


class Driver:
    """Drives all searches while it leads; several may run against one database, in any number of processes."""

    def __init__(self, database: Database, queue: TrialQueue, settings: Settings, holder: str | None = None) -> None:
        """`holder`: a name for this driver among all, where another one than it has to know it."""
        self._database = database
        self._queue = queue
        self._settings = settings
        self._holder = holder or new_holder()
        self._term: Term | None = None
        self._unreadable: set[str] = set()
        self._entered: dict[int, set[str]] = {}  # by resource class: the queue's entries after the last look
        self._ended: dict[str, int] = {}  # by search: how many of its trials had ended by the last look
        self._clear_at = 0.0
        self._wake = threading.Event()
        self._stop = threading.Event()

    @property
    def leads(self) -> bool:
        """Whether the last tick was this driver's to make."""
        return self._term is not None

    def run(self) -> None:
        """Tick until `stop` is called; what goes wrong is logged and tried again."""
        while not self._stop.is_set():
            started_at = time.monotonic()
            try:
                self.tick()
            except (SQLAlchemyError, LeadershipLostError) as error:
                logger.warning("the leader's loop will try again: %s", error)
            except Exception:
                logger.exception("the leader's loop met a defect and will try again")
            took_seconds = time.monotonic() - started_at
            rest_seconds = max(REST * took_seconds, LEAST_REST_SECONDS)
            self._stop.wait(min(rest_seconds, self._settings.tick_seconds))
            asleep = self._wake if self.leads else self._stop  # whoever does not lead has no use for news
            asleep.wait(self._settings.tick_seconds)
            self._wake.clear()
        self._resign()

    def wake(self) -> None:
        """Ask for a tick now: something has changed."""
        self._wake.set()

    def stop(self) -> None:
        """End `run` after the tick that it is in."""
        self._stop.set()
        self._wake.set()

    def tick(self) -> bool:
        """One look at everything; false, and nothing done, where another process leads.

        Raises:
            LeadershipLostError: the term ended during the tick; what had been committed stands.
        """
        with self._database.write() as session:
            term = acquire(session, self._holder, self._settings.leader_lease_seconds)
        if term != self._term:  # what went on meanwhile tells nothing of how fast
            self._entered, self._ended = {}, {}
        self._term = term
        if term is None:
            return False
        self._expire_leases(term)
        with self._database.read() as session:
            running = session.scalars(select(Search).where(Search.state == "running").order_by(Search.id)).all()
        searches = [search for search in running if self._can_read(term, search)]
        classes = sorted({search.gpus for search in searches})
        waiting = self._ask_who_waits(classes)
        workers = {gpus: self._count_workers(gpus, (waiting or {}).get(gpus, set())) for gpus in classes}
        ended = self._count_ended(searches)
        for search in searches:
            self._advance(term, search, Pace(workers[search.gpus], ended[search.id]))
        if waiting is not None:
            self._feed(workers)
        self._clear_old(term)
        return True

    def _resign(self) -> None:
        if self._term is None:
            return
        try:
            with self._database.write() as session:
                resign(session, self._term)
        except SQLAlchemyError as error:
            logger.warning("could not hand over leadership, it ends by itself: %s", error)
        self._term = None

    def _expire_leases(self, term: Term) -> None:
        with self._database.read() as session:
            # While nobody led, perhaps nobody could renew: every lease gets its full time from the start of a term.
            grace_ends = term.acquired_at + self._settings.lease_seconds
            if session.execute(select(now() < grace_ends)).scalar_one():
                return
            expired = transitions.find_expired(session)
        for trial_id in expired:
            with drive(self._database, term) as session:
                transitions.expire(session, trial_id)

    def _clear_old(self, term: Term) -> None:
        """Clear what was kept long enough: one search a tick, and when there is none left, nothing for an hour."""
        if time.monotonic() < self._clear_at:
            return
        days = self._settings.keep_details_days
        with drive(self._database, term) as session:
            if retention.clear_details(session, days) is None:
                retention.clear_platform(session, days)
                self._clear_at = time.monotonic() + CLEAR_SECONDS

    def _can_read(self, term: Term, search: Search) -> bool:
        """Whether this version can read a search's request. Where it cannot, because another version has stored it, the
        search is left as it is, for that version or for its owner; that is told once."""
        try:
            parse_request(search)
        except ValidationError as error:
            if search.id not in self._unreadable:
                message = f"left alone: this version of the controller cannot read the request: {error}"
                with drive(self._database, term) as session:
                    record(session, "search_unreadable", message, search_id=search.id, level="error")
                self._unreadable.add(search.id)
            return False
        self._unreadable.discard(search.id)
        return True

    def _advance(self, term: Term, search: Search, pace: Pace) -> None:
        """Advance one search until it has to wait; an error in it must not hold up the others."""
        try:
            while self._is_due(search, pace):
                with drive(self._database, term) as session:
                    locked = lock_search(session, search.id)
                    if locked.state != "running":
                        return
                    _act(session, locked, pace)
                search = locked
                if search.state != "running":
                    return
        except (LeadershipLostError, SQLAlchemyError):
            raise
        except Exception:
            logger.exception("the search could not be advanced", extra={"search": search.id})

    def _is_due(self, search: Search, pace: Pace) -> bool:
        """A look without a lock, because most looks find nothing to do."""
        with self._database.read() as session:
            counts = count_trials(session, search.id)
        if _has_failed_too_often(search, counts):
            return True
        if search.stage == "rounds":
            return not isinstance(rounds.next_action(search, parse_search(search), counts, pace), Wait)
        return not counts.open

    def _ask_who_waits(self, classes: Sequence[int]) -> Mapping[int, set[str]] | None:
        """Names of the workers that have asked for a trial lately, by resource class; none without Redis."""
        try:
            return {
                gpus: {c.name for c in self._queue.consumers(gpus) if c.idle_seconds < LIVE_CONSUMER_SECONDS}
                for gpus in classes
            }
        except QueueError as error:  # searches advance without it, and no tick waits for its silence twice
            logger.warning("%s", error)
            return None

    def _count_workers(self, gpus: int, waiting: set[str]) -> int:
        """Workers of a resource class: those that wait for a trial, and those that run one."""
        with self._database.read() as session:
            running = session.scalars(
                select(Trial.worker).join(Search).where(Trial.state == "running", Search.gpus == gpus)
            )
            return len(waiting.union(name for name in running if name))

    def _count_ended(self, searches: Sequence[Search]) -> Mapping[str, int]:
        """How many trials of each search have ended since the last look."""
        with self._database.read() as session:
            open_trials = count_open(session)
        before = self._ended
        self._ended = {search.id: search.next_number - open_trials.get(search.id, 0) for search in searches}
        return {search_id: count - before.get(search_id, count) for search_id, count in self._ended.items()}

    def _feed(self, workers: Mapping[int, int]) -> None:
        try:
            for gpus, count in workers.items():
                self._feed_class(gpus, count)
        except QueueError as error:
            logger.warning("%s", error)

    def _feed_class(self, gpus: int, workers: int) -> None:
        present = self._queue.present(gpus)
        # Where trials last less than a look's pause, as many as went since the last look may go until the next one.
        gone = len(self._entered.get(gpus, set()) - present)
        count = 2 * workers + gone + self._settings.queue_margin - len(present)
        chosen: list[str] = []
        if count > 0:
            with self._database.read() as session:
                waiting = feed.find_waiting(session, gpus, present, count, leave_out=self._unreadable)
            if chosen := feed.choose_next(waiting, count):
                self._queue.put(gpus, chosen)
        self._entered[gpus] = present.union(chosen)


def _act(session: Session, search: Search, pace: Pace) -> None:
    counts = count_trials(session, search.id)
    if _has_failed_too_often(search, counts):
        _fail(session, search, counts.failed)
    elif search.stage == "rounds":
        rounds.advance(session, search, counts, pace)
    elif counts.open:
        return
    elif search.stage == "confirm":
        confirmation.conclude(session, search, parse_search(search))
    elif search.stage == "rates":
        trainings.choose_rates(session, search)
    else:
        trainings.end_trainings(session, search)


def _has_failed_too_often(search: Search, counts: Counts) -> bool:
    return counts.failed > search.budgets.max_failed_trials


def _fail(session: Session, search: Search, failed: int) -> None:
    error = session.scalar(
        select(Trial.error)
        .where(Trial.search_id == search.id, Trial.state == "failed")
        .order_by(Trial.number.desc())
        .limit(1)
    )
    reason = (
        f"{failed} trials failed, more than max_failed_trials allows; the last error: {error}. "
        "Mend the cause and start the search again, or allow more failures."
    )
    end_search(session, search, "failed", reason)
    record(session, "search_failed", reason, search_id=search.id, level="error")
