"""The loop that empties the outbox while this process leads.

It has a thread and an event loop of its own, beside the leader's: a receiver that does not answer holds up neither
experiments nor leases, nor other subscribers.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from paploss.controller.notifications.senders import DeliveryError, Sender
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database, DatabaseError
from paploss.controller.store.notifications.deliveries import DeliveryAttempt, begin_attempts, end_attempt, is_due

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
MOST_AT_ONCE: Final = 16


class Notifier:
    """Delivers what is due: at most MOST_AT_ONCE at a time, one to each subscriber."""

    def __init__(self, database: Database, settings: Settings, leads: Callable[[], bool]) -> None:
        self._database = database
        self._sender = Sender(settings)
        self._leads = leads
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._busy: dict[asyncio.Task[None], str] = {}  # subscriptions by the attempt that is made for them

    def run(self) -> None:
        """Run until `stop` is called; errors are logged, and tried again."""
        asyncio.run(self._run())

    def stop(self) -> None:
        """End `run` soon. An attempt that is cut off is made again by the next leader."""
        self._stop.set()
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stopped.set)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            try:
                for attempt in await asyncio.to_thread(self._begin):
                    self._busy[asyncio.create_task(self._make(attempt))] = attempt.subscription_id
            except DatabaseError as error:
                logger.warning("notifications wait: %s", error)
            except Exception:
                logger.exception("the loop of notifications met a defect and will try again")
            await self._pause()
        for task in self._busy:
            task.cancel()

    async def _pause(self) -> None:
        """Until an attempt has ended, this loop is to end, or the time of the next look."""
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({stopped, *self._busy}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        self._busy = {task: to for task, to in self._busy.items() if not task.done()}

    def _begin(self) -> list[DeliveryAttempt]:
        busy, count = set(self._busy.values()), MOST_AT_ONCE - len(self._busy)
        if count == 0 or not self._leads():
            return []
        with self._database.read() as session:
            if not is_due(session, busy):
                return []
        with self._database.write() as session:
            return list(begin_attempts(session, busy, count))

    async def _make(self, attempt: DeliveryAttempt) -> None:
        error: str | None = None
        try:
            await self._sender.send(attempt)
        except DeliveryError as failure:
            error = str(failure)
        except Exception:
            logger.exception("an attempt to deliver a notification met a defect")
            error = "a defect of the controller; its log says more"
        fields = {"delivery": attempt.delivery_id, "subscription": attempt.subscription_id}
        try:
            state = await asyncio.to_thread(self._end, attempt, error)
        except DatabaseError as failure:
            logger.warning("the outcome of a delivery could not be stored, it is repeated: %s", failure, extra=fields)
            return
        if error is not None:
            level = logging.ERROR if state == "given_up" else logging.WARNING
            message = "attempt %d to deliver a notification to %s failed (%s): %s"
            logger.log(level, message, attempt.number, attempt.channel, state, error, extra=fields)

    def _end(self, attempt: DeliveryAttempt, error: str | None) -> str:
        with self._database.write() as session:
            return end_attempt(session, attempt, error)
