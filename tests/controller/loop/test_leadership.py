import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scenarios import add_search, add_training, outcome, pass_grace, pass_lease, pass_term
from simulation import Platform
from sqlalchemy import event

from paploss.controller.loop.driver import Driver
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.controller.store.tables import Experiment, Trial
from paploss.controller.store.trials import transitions

# Leases and leaders


def test_an_expired_trial_is_run_again_by_another_worker(platform: Platform) -> None:
    add_search(platform.database)
    platform.driver.tick()
    lease = platform.start("dead")
    assert lease is not None
    pass_lease(platform.database, lease.trial_id)
    pass_grace(platform.database)
    platform.driver.tick()
    for _ in range(4):
        other = platform.start("alive")
        assert other is not None
        if other.trial_id == lease.trial_id:
            break
        platform.finish(other)
    assert (other.trial_id, other.attempt) == (lease.trial_id, 2)


def test_after_a_restart_every_lease_gets_its_full_time(platform: Platform) -> None:
    add_search(platform.database)
    platform.driver.tick()
    lease = platform.start()
    assert lease is not None
    pass_lease(platform.database, lease.trial_id)
    pass_term(platform.database)
    restarted = platform.new_driver()
    assert restarted.tick()
    with platform.database.read() as session:
        assert session.get_one(Trial, lease.trial_id).state == "running"
    assert platform.renew(lease) == "continue"


def test_of_two_drivers_one_leads_until_it_falls_silent(platform: Platform) -> None:
    search = add_search(platform.database)
    other = platform.new_driver()
    assert platform.driver.tick()
    assert not other.tick()
    assert not other.leads
    pass_term(platform.database)
    assert other.tick()
    assert not platform.driver.tick()
    assert len(platform.trials(search)) == 4


def test_a_running_driver_can_be_woken_and_hands_over_when_it_stops(platform: Platform) -> None:
    patient = Settings(state_dir=platform.settings.state_dir, tick_seconds=3600)
    driver = Driver(platform.database, platform.queue, patient)
    thread = threading.Thread(target=driver.run)
    thread.start()
    search = add_search(platform.database)
    deadline = time.monotonic() + 60
    while not platform.trials(search) and time.monotonic() < deadline:
        driver.wake()
        time.sleep(0.01)
    driver.stop()
    thread.join()
    assert len(platform.trials(search)) == 4
    assert platform.new_driver().tick()


def test_a_driver_that_lost_its_term_in_the_middle_of_a_tick_changes_nothing(platform: Platform) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    platform.work()
    before = outcome(platform.database, search.id)

    def depose(_session: object, *_more: object) -> None:
        pass_term(platform.database)

    with _called_once(transitions, "find_expired", depose):
        pass_grace(platform.database)
        with pytest.raises(Exception, match="no longer leads"):
            platform.driver.tick()
    assert outcome(platform.database, search.id) == before
    assert platform.new_driver().tick()
    assert platform.search(search.id).round == 1


@contextmanager
def _called_once(module: Any, name: str, effect: Callable[..., None]) -> Iterator[None]:
    """While `module.name` stays itself, `effect` happens before its first call."""
    original = getattr(module, name)
    pending = [effect]

    def wrapped(*arguments: Any) -> Any:
        if pending:
            pending.pop()(*arguments)
        return original(*arguments)

    setattr(module, name, wrapped)
    try:
        yield
    finally:
        setattr(module, name, original)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@contextmanager
def _killed_at(database: Database, statement_number: int) -> Iterator[None]:
    """The process dies before its n-th statement."""
    count = 0

    def die(*_arguments: object) -> None:
        nonlocal count
        count += 1
        if count == statement_number:
            raise Killed

    event.listen(database.engine, "before_cursor_execute", die)
    try:
        yield
    finally:
        event.remove(database.engine, "before_cursor_execute", die)


def _run_killed(platform: Platform, search: Experiment) -> int:
    """Run a search to its end; before every tick that succeeds, one dies at each of its statements. How many died."""
    kills = 0
    for _ in range(1000):
        statement_number = 1
        while True:
            platform.driver = platform.new_driver()
            pass_term(platform.database)
            try:
                with _killed_at(platform.database, statement_number):
                    platform.driver.tick()
                break
            except Killed:
                kills += 1
                statement_number += 1
        if platform.search(search.id).state != "running":
            break
        platform.work()
    return kills


@pytest.mark.parametrize("mode", ["round", "stream"])
def test_a_controller_killed_between_any_two_statements_comes_to_the_same_end(platform: Platform, mode: str) -> None:
    request = {"rounds": 2, "trials_per_round": 3, "mode": mode, "confirm": {"candidates": 2, "seeds": 1}, "seed": 3}
    undisturbed = outcome(platform.database, platform.run(add_search(platform.database, **request)).id)
    search = add_search(platform.database, **request)
    assert _run_killed(platform, search) > 30
    assert outcome(platform.database, search.id) == undisturbed


def test_a_comparison_survives_a_controller_killed_between_any_two_statements(platform: Platform) -> None:
    request = {"kind": "comparison", "seeds": [1, 2], "learning_rates": [0.5, 1]}
    undisturbed = outcome(platform.database, platform.run(add_training(platform.database, **request)).id)
    search = add_training(platform.database, **request)
    assert _run_killed(platform, search) > 15
    assert outcome(platform.database, search.id) == undisturbed
