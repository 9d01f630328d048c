"""The queue between the controller and the workers, in Redis.

Every key, for a resource class of G GPUs per trial:

    paploss:trials:G            stream; each entry has the one field `trial`, a trial's id
    paploss:trials:G / workers  its consumer group; each worker is a consumer by its own name

Transitions of an entry: put (XADD) -> taken (XREADGROUP) -> acknowledged and deleted (XACK, XDEL); an entry that a
worker took and left idle goes to the next one that asks (XAUTOCLAIM). An entry is a hint and never the truth: Redis
may be emptied at any moment, an entry may come twice, and only the claim at the controller decides.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from paploss.jobs.spec import TRIAL_ID_PATTERN

STREAM = "paploss:trials:{gpus}"
GROUP = "workers"
FIELD = b"trial"

CONNECT_SECONDS = 5
ANSWER_SECONDS = 15.0
MAX_BLOCK_SECONDS = 10.0
FORGET_CONSUMER_SECONDS = 3600.0

log = logging.getLogger(__name__)


class QueueError(Exception):
    """Redis cannot be reached, or refuses; the text names its address."""


@dataclass(frozen=True)
class QueueEntry:
    """A trial handed to a worker, to be acknowledged after any definite answer to its claim."""

    gpus: int
    entry_id: str
    trial_id: str


@dataclass(frozen=True)
class Consumer:
    """A worker as Redis knows it."""

    name: str
    idle_seconds: float
    """Since it last asked for a trial; a worker that trains does not ask."""


class TrialQueue:
    """A connection to the queue. Safe to use from several threads.

    Every method raises QueueError where Redis cannot be reached or refuses.
    """

    def __init__(self, url: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Prepare the connection pool; the first connection is made on first use.

        `answer_seconds`: a Redis that is silent for so long counts as unreachable; more than any `block_seconds`.
        """
        try:
            self._redis: redis.Redis = redis.Redis.from_url(
                url,
                socket_connect_timeout=min(CONNECT_SECONDS, answer_seconds),
                socket_timeout=answer_seconds,
                # A pooled connection may be stale; a lasting failure, or a timeout, is the caller's to handle.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
        except ValueError:  # its text may quote a part of the password
            raise QueueError(
                "redis_url: expected redis://HOST:PORT/NUMBER, rediss://... or unix://PATH, a password in it "
                "percent-encoded (the given one is not shown, for it may hold a password)"
            ) from None
        self.address = _describe(self._redis)
        self._dropped = 0
        self._look_from: dict[int, bytes] = {}  # by class: where the next look for idle entries begins

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def ping(self) -> None:
        """Return if Redis answers."""
        with self._translated():
            self._redis.ping()

    # The controller's side.

    def put(self, gpus: int, trial_ids: Sequence[str]) -> None:
        """Add trials at the end of a class's stream, in order, in one round trip."""
        with self._translated(), self._redis.pipeline(transaction=False) as pipeline:
            for trial_id in trial_ids:
                pipeline.xadd(_stream(gpus), {FIELD: trial_id})
            pipeline.execute()

    def present(self, gpus: int) -> set[str]:
        """Ids of the trials that have an entry: waiting, or taken and not acknowledged."""
        with self._translated():
            entries: Any = self._redis.xrange(_stream(gpus))
            return {trial_id for _entry_id, fields in entries if (trial_id := _read_trial_id(fields)) is not None}

    def consumers(self, gpus: int) -> list[Consumer]:
        """The workers that have asked this class for a trial; those long silent are forgotten."""
        with self._translated():
            try:
                rows: Any = self._redis.xinfo_consumers(_stream(gpus), GROUP)
            except redis.ResponseError as error:
                if _is_missing(error):
                    return []
                raise
            alive = []
            for row in rows:
                name, idle_seconds = row["name"].decode(errors="replace"), row["idle"] / 1000
                if idle_seconds < FORGET_CONSUMER_SECONDS:
                    alive.append(Consumer(name, idle_seconds))
                elif row["pending"] == 0:
                    self._redis.xgroup_delconsumer(_stream(gpus), GROUP, row["name"])
            return alive

    # The worker's side.

    def take(
        self, classes: Sequence[int], consumer: str, *, block_seconds: float, takeover_seconds: float
    ) -> QueueEntry | None:
        """The next trial of any of these classes, the first class first; none after `block_seconds` (10 at most).

        An entry that another consumer took and has not acknowledged for `takeover_seconds` comes first. Where Redis
        was emptied the consumer group is made again. A malformed entry is dropped, and counted in the log.
        """
        with self._translated():
            try:
                entry = self._find(classes, consumer, takeover_seconds)
                if entry is None:
                    self._join(classes, consumer)
                    entry = self._read(classes, consumer, block_seconds)
                return entry
            except redis.ResponseError as error:
                if not _is_missing(error):
                    raise
            for gpus in classes:  # never used, or emptied
                self._create_group(gpus)
            self._join(classes, consumer)
            return self._find(classes, consumer, takeover_seconds)

    def acknowledge(self, entry: QueueEntry) -> None:
        """Remove an entry for good; repeating it is harmless."""
        with self._translated():
            self._remove(entry.gpus, entry.entry_id)

    def _find(self, classes: Sequence[int], consumer: str, takeover_seconds: float) -> QueueEntry | None:
        for gpus in classes:
            entry = self._take_over(gpus, consumer, takeover_seconds) or self._read([gpus], consumer, None)
            if entry is not None:
                return entry
        return None

    def _take_over(self, gpus: int, consumer: str, idle_seconds: float) -> QueueEntry | None:
        reply: Any = self._redis.xautoclaim(
            _stream(gpus),
            GROUP,
            consumer,
            min_idle_time=int(idle_seconds * 1000),
            # Redis goes through ten entries at once: from the beginning each time, none behind ten that other workers
            # have in hand would ever be found.
            start_id=self._look_from.get(gpus, b"0-0"),
            count=1,
        )
        self._look_from[gpus] = reply[0]
        for entry_id, fields in reply[1]:
            if fields:  # Redis 6 also hands out entries that were deleted
                return self._parse(gpus, entry_id.decode(), fields)
        return None

    def _read(self, classes: Sequence[int], consumer: str, block_seconds: float | None) -> QueueEntry | None:
        by_stream = {_stream(gpus): gpus for gpus in classes}
        block = None if block_seconds is None else max(int(min(block_seconds, MAX_BLOCK_SECONDS) * 1000), 1)
        reply: Any = self._redis.xreadgroup(GROUP, consumer, dict.fromkeys(by_stream, ">"), count=1, block=block)
        read = [
            self._parse(by_stream[stream.decode()], entry_id.decode(), fields)
            for stream, rows in reply or ()
            for entry_id, fields in rows
        ]
        entries = [entry for entry in read if entry is not None]
        for surplus in entries[1:]:  # one from each stream may come at once: hand the others on
            self.put(surplus.gpus, [surplus.trial_id])
            self.acknowledge(surplus)
        return entries[0] if entries else None

    def _parse(self, gpus: int, entry_id: str, fields: Mapping[bytes, bytes]) -> QueueEntry | None:
        trial_id = _read_trial_id(fields)
        if trial_id is not None:
            return QueueEntry(gpus, entry_id, trial_id)
        self._remove(gpus, entry_id)
        self._dropped += 1
        log.warning("malformed entry %s of %s dropped, the %d. so far", entry_id, _stream(gpus), self._dropped)
        return None

    def _remove(self, gpus: int, entry_id: str) -> None:
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xack(_stream(gpus), GROUP, entry_id)
            pipeline.xdel(_stream(gpus), entry_id)
            pipeline.execute()

    def _join(self, classes: Sequence[int], consumer: str) -> None:
        """Be known to the groups while there is nothing to take: the controller counts who waits."""
        for gpus in classes:
            self._redis.xgroup_createconsumer(_stream(gpus), GROUP, consumer)

    def _create_group(self, gpus: int) -> None:
        try:
            self._redis.xgroup_create(_stream(gpus), GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            if isinstance(error, redis.ReadOnlyError):  # a failover: by now the address leads to another server
                self._redis.connection_pool.disconnect(inuse_connections=False)
            raise QueueError(f"Redis at {self.address}: {error}") from error


def _stream(gpus: int) -> str:
    return STREAM.format(gpus=gpus)


def _read_trial_id(fields: Mapping[bytes, bytes]) -> str | None:
    """The trial's id; none in an entry that this program has not written."""
    text = fields.get(FIELD, b"").decode(errors="replace")
    return text if re.fullmatch(TRIAL_ID_PATTERN, text) and not text.endswith("\n") else None


def _is_missing(error: redis.ResponseError) -> bool:
    """Whether the stream or its group is not there: never used, or emptied."""
    return any(sign in str(error) for sign in ("NOGROUP", "no such key", "key to exist"))


def _describe(client: redis.Redis) -> str:
    options = client.connection_pool.connection_kwargs
    return str(options["path"]) if "path" in options else f"{options.get('host')}:{options.get('port')}"
