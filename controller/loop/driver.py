"""The leader's loop: expire leases, advance every experiment, keep the queues filled, tell what is new; repeat.

No state that matters is kept between two ticks but the leadership: each tick reads the state anew, so a driver may be
killed at any point, and another one continues. What it caches, such as the throughput of trials, saves work or makes it
propose and queue a little more.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from paploss.client.specs import ExperimentSpec
from paploss.controller.experiments.kinds import KINDS
from paploss.controller.loop import feed
from paploss.controller.loop.watch import Watch
from paploss.controller.search.scheduling import Pace
from paploss.controller.settings import Settings
from paploss.controller.store import retention
from paploss.controller.store.database import Database, DatabaseError, Session, read_clock
from paploss.controller.store.documents import SPEC
from paploss.controller.store.errors import LeadershipLostError
from paploss.controller.store.events import record
from paploss.controller.store.experiments import fail_experiment, list_running, lock_experiment
from paploss.controller.store.leadership import Term, acquire, drive, new_holder, prolong, resign
from paploss.controller.store.tables import Experiment
from paploss.controller.store.trials import tallies, transitions
from paploss.controller.store.trials.counts import (
    Counts,
    count_limited_failures,
    count_open,
    count_trials,
    find_last_error,
    find_running_workers,
    find_shared_mistake,
)
from paploss.controller.store.trials.demand import find_claimants, find_rooms
from paploss.jobs.documents import UnreadableError
from paploss.jobs.queue import QueueError, TrialQueue
from paploss.jobs.wording import counted

logger = logging.getLogger(__name__)

PAUSE_RATIO, MIN_PAUSE_SECONDS = 1.5, 0.1
"""The pause after a tick: PAUSE_RATIO times its duration, at least MIN_PAUSE_SECONDS and at most `tick_seconds`. Many
results a second would wake the loop without end, although one tick for many of them costs little more than for one, and
the processor also has to serve their requests."""

CLEAR_SECONDS = 3600.0
"""How often the leader clears what has passed its retention."""

TALLY_SECONDS = 10.0
"""How often the leader looks for ended trials that are in no tally."""

LIVE_CONSUMER_SECONDS = 60.0
"""A worker that has not asked for a trial for this long, and runs none, is not counted as live."""


def connect(settings: Settings) -> tuple[Database, TrialQueue]:
    """The database and the queue, as a driver needs them. Nothing is connected yet."""
    database = Database(settings.resolved_database_url, silent_seconds=2 * settings.leader_lease_seconds)
    # A term must outlast the timeout of a Redis that hangs.
    return database, TrialQueue(settings.redis_url, answer_seconds=settings.leader_lease_seconds / 3)


class Loop(Protocol):
    """The leader's loop, wherever it runs."""

    @property
    def leads(self) -> bool:
        """Whether it leads now."""

    def run(self) -> None:
        """Run until `stop` is called."""

    def wake(self) -> None:
        """Ask for a tick now: something has changed. Callable from any thread."""

    def stop(self) -> None:
        """End `run` after the tick that it is in."""


class Driver:
    """Drives all experiments while it leads; several may run against one database, in any number of processes."""

    def __init__(self, database: Database, queue: TrialQueue, settings: Settings, holder: str | None = None) -> None:
        """`holder`: this driver's unique name, where another process has to know it."""
        self._database = database
        self._queue = queue
        self._settings = settings
        self._holder = holder or new_holder()
        self._term: Term | None = None
        self._renewed_at = 0.0
        self._unreadable: set[str] = set()
        self._entered: dict[int, set[str]] = {}  # by resource class: entries after the last tick, and those put since
        self._queued: dict[int, set[str]] = {}  # by resource class: the queue's entries when it was last fed
        self._ended: dict[str, int] = {}  # by experiment: how many of its trials had ended by the last tick
        self._ahead_seconds: float | None = None  # the database's clock beyond this process's, at the last look
        self._jumped_at: float | None = None  # in this term, by the database's clock
        self._tally_at = 0.0
        self._clear_at = 0.0
        self._watch = Watch(database, settings.stalled_seconds)
        self._wake = threading.Event()
        self._stop = threading.Event()

    @property
    def leads(self) -> bool:
        """Whether this driver led in the last tick."""
        return self._term is not None

    def run(self) -> None:
        """Tick until `stop` is called; errors are logged, and the tick is retried."""
        while not self._stop.is_set():
            started_at = time.monotonic()
            try:
                self.tick()
            except (DatabaseError, LeadershipLostError) as error:
                logger.warning("the leader's loop will try again: %s", error)
            except Exception:
                logger.exception("the leader's loop met a defect and will try again")
            took_seconds = time.monotonic() - started_at
            pause_seconds = max(PAUSE_RATIO * took_seconds, MIN_PAUSE_SECONDS)
            self._stop.wait(min(pause_seconds, self._settings.tick_seconds))
            asleep = self._wake if self.leads else self._stop  # a standby has no use for a wake-up
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
        """One tick; returns False, without doing anything, where another process leads.

        Raises:
            LeadershipLostError: the term ended during the tick; what had been committed stands.
        """
        self._renewed_at = time.monotonic()
        with self._database.write() as session:
            term = acquire(session, self._holder, self._settings.leader_lease_seconds)
        if term != self._term:  # what ended before this term says nothing of the throughput
            self._queued, self._ended = {}, {}
            self._jumped_at = self._ahead_seconds = None
            self._watch.forget()
        self._term = term
        if term is None:
            return False
        self._expire_leases(term)
        with self._database.read() as session:
            running = list_running(session)
        readable = [(each, spec) for each in running if (spec := self._read_spec(term, each)) is not None]
        classes = sorted({experiment.gpus for experiment, _ in readable})
        waiting = self._ask_who_waits(classes)
        workers = {gpus: self._count_workers(gpus, (waiting or {}).get(gpus, set())) for gpus in classes}
        ended = self._count_ended([experiment for experiment, _ in readable])
        self._entered = dict(self._queued)
        if waiting is not None:  # where trials are queued already, no worker waits for what is proposed now
            self._feed(workers)
        for experiment, spec in readable:
            self._advance(term, experiment, spec, Pace(workers[experiment.gpus], ended[experiment.id]))
        if waiting is not None:
            self._feed(workers)
        self._tally(term)
        self._watch.look(term)
        self._clear_old(term)
        return True

    def _resign(self) -> None:
        if self._term is None:
            return
        try:
            with self._database.write() as session:
                resign(session, self._term)
        except DatabaseError as error:
            logger.warning("could not hand over leadership, it ends by itself: %s", error)
        self._term = None

    def _expire_leases(self, term: Term) -> None:
        lease_seconds = self._settings.lease_seconds
        with self._database.read() as session:
            clock = read_clock(session)
            self._watch_clock(clock)
            # While there was no leader, renewals may have failed; and after a jump of the clock no lease means what it
            # says. Every lease gets its full time then.
            grace_began_at = term.acquired_at if self._jumped_at is None else self._jumped_at
            if clock < grace_began_at + lease_seconds:
                return
            expired = transitions.find_expired(session)
        for trial_id in expired:
            with drive(self._database, term) as session:
                transitions.expire(session, trial_id)

    def _watch_clock(self, clock: float) -> None:
        """Notice where the database's clock was set, or the machine slept: it then differs from this process's."""
        ahead_seconds = clock - time.monotonic()
        before, self._ahead_seconds = self._ahead_seconds, ahead_seconds
        if before is not None and abs(ahead_seconds - before) > self._settings.lease_seconds / 2:
            logger.warning(
                "the database's clock has jumped by %.0f s: leases get their full time", ahead_seconds - before
            )
            self._jumped_at = clock
            with self._database.write() as session:
                transitions.restart_leases(session, self._settings.lease_seconds)

    def _tally(self, term: Term) -> None:
        """Add up ended trials for monitoring: some in a tick, then nothing for TALLY_SECONDS."""
        if time.monotonic() < self._tally_at:
            return
        with self._database.read() as session:
            stretch = tallies.find_stretch(session)
            sums = None if stretch is None else tallies.add_up(session, stretch)
        if stretch is None or sums is None:
            self._tally_at = time.monotonic() + TALLY_SECONDS
            return
        with drive(self._database, term) as session:
            tallies.store(session, stretch, sums)

    def _clear_old(self, term: Term) -> None:
        """Clear what has passed its retention: one experiment a tick, then nothing for CLEAR_SECONDS."""
        if time.monotonic() < self._clear_at:
            return
        days = self._settings.keep_details_days
        with drive(self._database, term) as session:
            if retention.clear_details(session, days) is None:
                retention.clear_platform(session, days)
                self._clear_at = time.monotonic() + CLEAR_SECONDS

    def _read_spec(self, term: Term, experiment: Experiment) -> ExperimentSpec | None:
        """An experiment's request; None where this version cannot read it, because another version has stored it.

        It is then left as it is, for that version or for its owner; the log says so once.
        """
        try:
            spec = SPEC.read(experiment.spec)
        except UnreadableError as error:
            if experiment.id not in self._unreadable:
                message = f"waits: this version of the controller cannot read {error}"
                with drive(self._database, term) as session:
                    record(session, "experiment_unreadable", message, experiment_id=experiment.id, level="error")
                self._unreadable.add(experiment.id)
            return None
        self._unreadable.discard(experiment.id)
        return spec

    def _advance(self, term: Term, experiment: Experiment, spec: ExperimentSpec, pace: Pace) -> None:
        """Advance one experiment until it has to wait; an error in it must not hold up the others."""
        took_seconds = 0.0
        try:
            while (prepare := self._find_work(experiment, spec, pace)) is not None:
                if self._database.is_sqlite:  # what goes on in parts leaves its other writers half the time
                    self._stop.wait(took_seconds)
                ahead = prepare()
                self._keep(term)
                began_at = time.monotonic()
                with drive(self._database, term) as session:
                    locked = lock_experiment(session, experiment.id)
                    if locked.state != "running":
                        return
                    _act(session, locked, spec, pace, ahead)
                took_seconds = time.monotonic() - began_at
                experiment = locked
                if experiment.state != "running":
                    return
        except (LeadershipLostError, DatabaseError):
            raise
        except Exception:
            logger.exception("the experiment could not be advanced", extra={"experiment": experiment.id})

    def _keep(self, term: Term) -> None:
        """Renew the term where a third of it has passed: an experiment may take many steps in one tick, and long ones.

        Raises:
            LeadershipLostError: it has expired.
        """
        began_at, lease_seconds = time.monotonic(), self._settings.leader_lease_seconds
        if began_at < self._renewed_at + lease_seconds / 3:
            return
        with self._database.write() as session:
            prolong(session, term, lease_seconds)
        self._renewed_at = began_at

    def _find_work(self, experiment: Experiment, spec: ExperimentSpec, pace: Pace) -> Callable[[], Any] | None:
        """What makes the next step possible; None where there is none to take.

        Read without a lock, because most ticks find nothing to do. What takes long is computed before the row is
        locked: on SQLite a writer holds up every lease.
        """
        kind = KINDS[spec.kind]
        with self._database.read() as session:
            counts = count_trials(session, experiment.id)
            failed = _count_too_many_failures(session, experiment, spec, counts)
            if failed or _find_mistake(session, experiment, counts) is not None:
                return _nothing
            if not kind.is_due(session, experiment, spec, counts, pace):
                return None
            return kind.look_ahead(session, experiment, spec, counts, pace) or _nothing

    def _ask_who_waits(self, classes: Sequence[int]) -> Mapping[int, set[str]] | None:
        """Names of the workers that have asked for a trial lately, by resource class; None without Redis."""
        try:
            return {
                gpus: {c.name for c in self._queue.consumers(gpus) if c.idle_seconds < LIVE_CONSUMER_SECONDS}
                for gpus in classes
            }
        except QueueError as error:  # experiments advance without it, and no tick waits for its timeout twice
            logger.warning("%s", error)
            return None

    def _count_workers(self, gpus: int, waiting: set[str]) -> int:
        """Workers of a resource class: those that wait for a trial, and those that run one."""
        with self._database.read() as session:
            return len(waiting | find_running_workers(session, gpus))

    def _count_ended(self, experiments: Sequence[Experiment]) -> Mapping[str, int]:
        """How many trials of each experiment have ended since the last tick."""
        with self._database.read() as session:
            open_trials = count_open(session)
        before = self._ended
        self._ended = {each.id: each.next_number - open_trials.get(each.id, 0) for each in experiments}
        return {each: count - before.get(each, count) for each, count in self._ended.items()}

    def _feed(self, workers: Mapping[int, int]) -> None:
        try:
            for gpus, count in workers.items():
                self._feed_class(gpus, count)
        except QueueError as error:
            logger.warning("%s", error)

    def _feed_class(self, gpus: int, workers: int) -> None:
        present = self._queue.present(gpus)
        # Where trials last less than the pause of a tick, as many as ended since the last one may end until the next.
        entered = self._entered.get(gpus, set())
        gone = len(entered - present)
        count = 2 * workers + gone + self._settings.queue_margin - len(present)
        chosen: list[str] = []
        if count > 0:
            with self._database.read() as session:
                claimants = find_claimants(session, gpus, present, count, leave_out=self._unreadable)
                rooms = find_rooms(session, present)
            if chosen := feed.choose_next(claimants, count, rooms):
                self._queue.put(gpus, chosen)
        self._entered[gpus], self._queued[gpus] = entered.union(chosen), present.union(chosen)


def _nothing() -> None:
    """What prepares a step that needs no preparation."""


def _act(session: Session, experiment: Experiment, spec: ExperimentSpec, pace: Pace, ahead: Any) -> None:
    counts = count_trials(session, experiment.id)
    if (mistake := _find_mistake(session, experiment, counts)) is not None:
        fail_experiment(session, experiment, mistake)
    elif failed := _count_too_many_failures(session, experiment, spec, counts):
        reason = (
            f"{counted(failed, 'trial')} failed, more than max_failed_trials allows; "
            f"the last error: {find_last_error(session, experiment.id)}. "
            "Fix the cause and start again, or allow more failures."
        )
        fail_experiment(session, experiment, reason)
    else:
        KINDS[spec.kind].advance(session, experiment, spec, counts, pace, ahead=ahead)


def _count_too_many_failures(session: Session, experiment: Experiment, spec: ExperimentSpec, counts: Counts) -> int:
    """How many trials have failed that count, where they are more than the request allows; else 0."""
    most = spec.budgets.max_failed_trials
    failed = count_limited_failures(session, experiment.id) if counts.failed > most else 0
    return failed if failed > most else 0


def _find_mistake(session: Session, experiment: Experiment, counts: Counts) -> str | None:
    """What the user has to correct, where trials show that no other one can succeed."""
    return find_shared_mistake(session, experiment.id) if counts.failed > 1 else None
