"""A short-lived cache of all valid keys, tokens and browser sessions, and who they belong to.

A thousand workers that renew their leases share one key, so without a cache each renewal would begin with the same
query. Because the cache holds all of them, a guessed key costs a look-up and only now and then a query.
"""

import asyncio
import math
import time
from dataclasses import dataclass

from paploss.client.projects import DEFAULT_PROJECT
from paploss.client.states import Role
from paploss.controller.store.access.keys import digest_key
from paploss.controller.store.access.sign_ins import Purpose, find_valid
from paploss.controller.store.database import Database
from paploss.controller.store.projects import list_names

REMEMBERED_SECONDS = 2.0
"""How long this replica may still accept what was revoked through another one, or has expired."""
PAUSE_SECONDS = 0.05
"""A secret that is not in the cache may be newer than it: it is read again, at most this often."""


@dataclass(frozen=True)
class Caller:
    """Who a request comes from."""

    name: str
    role: Role
    project: str | None = None
    """The only one whose experiments they see; None: they see all."""
    projects: tuple[str, ...] = (DEFAULT_PROJECT,)
    """Names of all that there are."""
    token_id: str | None = None
    """Of the personal access token that the request came with."""

    @property
    def chooses_project(self) -> bool:
        """Whether there is a choice: pages show projects to nobody else."""
        return self.project is None and len(self.projects) > 1


class Callers:
    """The owners of keys, tokens and sessions. Used by the event loop alone; the queries run in threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: dict[tuple[Purpose, str], Caller] = {}
        self._read_at = -math.inf
        self._forgotten = 0
        self._reading = asyncio.Lock()

    async def find_by_key(self, key: str) -> Caller | None:
        """The owner of an API key or a token; None if it is unknown, revoked or expired."""
        return await self._find("bearer", key)

    async def find_by_session(self, secret: str) -> Caller | None:
        """The owner of a browser session; None if it is unknown or expired, or its key revoked."""
        return await self._find("session", secret)

    def forget(self) -> None:
        """Read them all again: a key or a token was revoked here, or a browser signed out. Callable from any thread."""
        self._forgotten += 1
        self._read_at = -math.inf

    async def _find(self, purpose: Purpose, secret: str) -> Caller | None:
        # Found by digest: what a comparison's duration could tell is about the digest of a guess, and nothing about the
        # secret follows from that.
        entry = (purpose, digest_key(secret))
        arrived_at = time.monotonic()
        found = self._remembered.get(entry)
        if found is not None and arrived_at < self._read_at + REMEMBERED_SECONDS:
            return found
        async with self._reading:  # of many that ask at once, one reads
            while self._read_at < arrived_at:
                await asyncio.sleep(max(0.0, self._read_at + PAUSE_SECONDS - time.monotonic()))
                await self._read()
        return self._remembered.get(entry)

    async def _read(self) -> None:
        forgotten, started_at = self._forgotten, time.monotonic()
        remembered = await asyncio.to_thread(self._query)  # a lease's thread: a renewal must wait for no page
        if forgotten == self._forgotten:  # else it may hold a key that was revoked meanwhile
            self._remembered, self._read_at = remembered, started_at

    def _query(self) -> dict[tuple[Purpose, str], Caller]:
        with self._database.read() as session:
            projects = tuple(list_names(session))
            return {
                (row.purpose, row.digest): Caller(row.name, row.role, row.project, projects, row.token_id)
                for row in find_valid(session)
            }
