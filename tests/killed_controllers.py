"""Controller processes that are killed in the middle of a tick."""

import multiprocessing
import os
import signal

from sqlalchemy import event

from paploss.controller.loop.driver import Driver
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.jobs.queue import TrialQueue

# Forks of a process without threads, which has imported what they need: an interpreter would take seconds to start, and
# a fork of the tests' own process keeps every lock that another of its threads holds at that moment, for ever.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([Driver.__module__])


def tick_in_child(database_url: str, redis_url: str, settings: Settings, kill_at: int) -> bool:
    """A controller process that takes over, makes one tick, and dies by SIGKILL at its n-th step.

    Steps are the statements and the commits, each before and after it. Returns whether it came to the tick's end.
    """
    child = _FORKS.Process(target=_tick, args=(database_url, redis_url, settings, kill_at))
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode == 0


def _tick(database_url: str, redis_url: str, settings: Settings, kill_at: int) -> None:
    steps = 0

    def step(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    database = Database(database_url)
    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(database.engine, moment, step)
    with TrialQueue(redis_url) as queue:
        Driver(database, queue, settings).tick()
