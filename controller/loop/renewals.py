"""Renewals that arrive close together, in one transaction: thousands of workers send one every few seconds."""

import asyncio
from collections.abc import Sequence

from paploss.controller.loop import leases
from paploss.controller.settings import Settings
from paploss.controller.store.database import UNSTORABLE, Database
from paploss.controller.store.trials.renewals import renew_many
from paploss.jobs.lease import Command, RenewReply, RenewRequest

GATHER_SECONDS = 0.02
"""How long the first of a batch waits for others. A worker's next renewal is seconds away."""
MOST_AT_ONCE = 500


class Renewals:
    """Gathers renewals. Used by the event loop alone; the transactions run in threads, one batch at a time.

    SQLite, which is for few workers on one machine, has a transaction for each.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._waiting: list[tuple[RenewRequest, asyncio.Future[Command | None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def renew(self, request: RenewRequest) -> RenewReply:
        """Renew a lease. Raises as `paploss.controller.store.trials.leases.renew`."""
        command = None if self._database.is_sqlite else await self._join(request)
        if command is None:
            return await asyncio.to_thread(leases.renew, self._database, self._settings, request)
        return RenewReply(command=command)

    async def _join(self, request: RenewRequest) -> Command | None:
        answer: asyncio.Future[Command | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_SECONDS)
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            try:
                commands = await asyncio.to_thread(self._renew, [request for request, _ in batch])
            except Exception as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), command in zip(batch, commands, strict=True):
                if not answer.done():  # else whoever asked has gone
                    answer.set_result(command)

    def _renew(self, requests: Sequence[RenewRequest]) -> Sequence[Command | None]:
        try:
            with self._database.write() as session:
                return renew_many(session, requests, self._settings.lease_seconds)
        except UNSTORABLE:  # of one of them, which gets an answer of its own
            return [None] * len(requests)
