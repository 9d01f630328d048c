"""Who a key or a browser's session belongs to, looked up in the database and remembered for a moment.

A thousand workers that renew their leases share one key: without a memory each renewal would begin with the same query.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from controller.store.database import Database
from controller.store.keys import digest_key, find_key
from controller.store.models import ApiKey, Role
from controller.store.sign_ins import find_session

REMEMBERED_SECONDS = 2.0
"""So long a key that was revoked through another replica may still be taken by this one."""


@dataclass(frozen=True)
class Caller:
    """Who a request comes from."""

    name: str
    role: Role


class Callers:
    """The owners of keys and sessions. Used by the event loop alone; the queries run in threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: dict[tuple[str, str], tuple[Caller, float]] = {}  # by kind and digest: until when

    async def find_by_key(self, key: str) -> Caller | None:
        """The owner of an API key; none if it is unknown or revoked."""
        return await self._find("key", key, find_key)

    async def find_by_session(self, secret: str) -> Caller | None:
        """The owner of a browser's session; none if it is unknown or over, or its key revoked."""
        return await self._find("session", secret, find_session)

    def forget(self) -> None:
        """Look everybody up again: a key was revoked here, or a browser signed out. Callable from any thread."""
        self._remembered = {}

    async def _find(self, kind: str, secret: str, look_up: Callable[[Session, str], ApiKey | None]) -> Caller | None:
        # Found by digest: what a comparison's duration could tell is about the digest of a guess, and nothing about the
        # secret follows from that.
        remembered, entry = self._remembered, (kind, digest_key(secret))
        found = remembered.get(entry)
        if found is not None and time.monotonic() < found[1]:
            return found[0]
        row = await run_in_threadpool(self._look_up, look_up, secret)
        if row is None:
            remembered.pop(entry, None)
            return None
        caller = Caller(row.name, row.role)
        now = time.monotonic()
        for old in [old for old, (_, until) in remembered.items() if until < now]:
            del remembered[old]
        remembered[entry] = caller, now + REMEMBERED_SECONDS
        return caller

    def _look_up(self, look_up: Callable[[Session, str], ApiKey | None], secret: str) -> ApiKey | None:
        with self._database.read() as session:
            return look_up(session, secret)
