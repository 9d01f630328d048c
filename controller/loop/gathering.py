"""Steps of the lease protocol that arrive close together, in one transaction: thousands of workers ask at once."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from paploss.controller.loop import leases
from paploss.controller.settings import Settings
from paploss.controller.store.database import UNAVAILABLE, Database
from paploss.jobs.lease import Accepted, ClaimRequest, Lease, RenewReply, RenewRequest, ResultRequest

GATHER_SECONDS = 0.02
"""How long the first of a batch waits for others. A worker's next step is seconds away."""
MOST_CLAIMS, MOST_RESULTS, MOST_RENEWALS = 50, 100, 500
"""Of one transaction. A claim makes a whole job, and a renewal that waits behind others must not wait for long."""

Step = TypeVar("Step")
Answer = TypeVar("Answer")
AskMany = Callable[[Sequence[Step]], Sequence[Answer | None]]


class Gathering(Generic[Step, Answer]):
    """Group commit: the steps that wait are one transaction, and each is answered after its commit.

    Used by the event loop alone; the transactions run in threads, one batch at a time.
    """

    def __init__(
        self,
        ask_many: AskMany[Step, Answer] | None,
        ask: Callable[[Step], Answer],
        most: int,
    ) -> None:
        """`ask_many`: takes the ordinary steps, `most` at once, and answers None for each of the others; without it,
        nothing is gathered. `ask`: takes any step, alone."""
        self._ask_many = ask_many
        self._ask = ask
        self._most = most
        self._waiting: list[tuple[Step, asyncio.Future[Answer | None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def ask(self, step: Step) -> Answer:
        """The answer to a step, among others or, where it is not an ordinary one, alone. Raises as `ask` does."""
        answer = None if self._ask_many is None else await self._join(step, self._ask_many)
        return await asyncio.to_thread(self._ask, step) if answer is None else answer

    async def _join(self, step: Step, ask_many: AskMany[Step, Answer]) -> Answer | None:
        awaited: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((step, awaited))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(ask_many))
        return await awaited

    async def _run(self, ask_many: AskMany[Step, Answer]) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_SECONDS)
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            answers: Sequence[Answer | None] = [None] * len(batch)
            failure: Exception | None = None
            try:
                answers = await asyncio.to_thread(ask_many, [step for step, _ in batch])
            except UNAVAILABLE as error:
                failure = error
            except Exception:  # noqa: S110 - one of them is at fault: each is asked alone, and gets its own error
                pass
            for (_, awaited), answer in zip(batch, answers, strict=True):
                if awaited.done():  # whoever asked has gone
                    continue
                if failure is None:
                    awaited.set_result(answer)
                else:
                    awaited.set_exception(failure)


class LeaseSteps:
    """What the API asks for workers.

    SQLite, which is for few workers on one machine, has a transaction for each.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        is_gathered = not database.is_sqlite
        self.claims: Gathering[tuple[ClaimRequest, int], Lease] = Gathering(
            partial(leases.claim_many, database, settings) if is_gathered else None,
            lambda asked: leases.claim(database, settings, *asked),
            MOST_CLAIMS,
        )
        """Of a request and the version of the protocol that the worker speaks."""
        self.renewals: Gathering[RenewRequest, RenewReply] = Gathering(
            partial(leases.renew_many, database, settings) if is_gathered else None,
            partial(leases.renew, database, settings),
            MOST_RENEWALS,
        )
        self.results: Gathering[ResultRequest, Accepted] = Gathering(
            partial(leases.finish_many, database) if is_gathered else None,
            partial(leases.finish, database),
            MOST_RESULTS,
        )
