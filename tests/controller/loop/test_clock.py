"""The database's clock is set while trials run: no live worker loses its trial, and no dead one keeps it for long."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scenarios import add_search, pass_grace, pass_term
from simulation import Platform
from sqlalchemy.ext.compiler import compiles

from paploss.controller.store.database import Database, _now_postgresql, _now_sqlite, now

HOUR = 3600.0
SQL = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0 + {:.1f})",
    "postgresql": "(EXTRACT(EPOCH FROM clock_timestamp())::float8 + {:.1f})",
}


@pytest.fixture
def set_clock(database: Database) -> Iterator[Callable[[float], None]]:
    """Set the database's clock, to so many seconds after the true time."""

    def compile_as(dialect: str, compiled: Callable[..., str]) -> None:
        compiles(now, dialect)(compiled)
        for engine in (database.engine, database._reader):
            engine.clear_compiled_cache()

    def set_to(seconds: float) -> None:
        for dialect, text in SQL.items():
            told = text.format(seconds)
            compile_as(dialect, lambda *_arguments, told=told, **_options: told)

    yield set_to
    compile_as("sqlite", _now_sqlite)
    compile_as("postgresql", _now_postgresql)


def states(platform: Platform, search: Any) -> set[str]:
    return {trial.state for trial in platform.trials(search)}


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_live_workers_keep_their_trials(platform: Platform, set_clock: Callable[[float], None], seconds: float) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    leases = [platform.start(f"w{number}") for number in range(4)]
    assert None not in leases
    pass_grace(platform.database)
    platform.driver.tick()
    set_clock(seconds)
    for _ in range(3):
        platform.driver.tick()
    assert states(platform, search) == {"running"}
    for lease in leases:
        platform.finish(lease)
    platform.driver.tick()
    assert platform.search(search.id).round == 1
    assert not [kind for kind in platform.events(search) if kind == "lease_expired"]


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_dead_workers_trial_is_given_on_after_one_lease(
    platform: Platform, set_clock: Callable[[float], None], seconds: float
) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    assert platform.start() is not None
    pass_grace(platform.database)
    platform.driver.tick()
    set_clock(seconds)
    platform.driver.tick()
    assert "running" in states(platform, search)
    for later in range(10, 80, 10):  # in steps shorter than a leader's term, as time goes by
        set_clock(seconds + later)
        platform.driver.tick()
    assert states(platform, search) == {"queued"}


def test_a_leader_that_comes_back_forgets_jumps_of_its_earlier_term(
    platform: Platform, set_clock: Callable[[float], None]
) -> None:
    search = add_search(platform.database)
    platform.driver.tick()
    assert platform.start() is not None
    set_clock(-HOUR)
    platform.driver.tick()  # every lease has its full time
    pass_term(platform.database)
    assert platform.new_driver().tick()
    assert not platform.driver.tick()
    set_clock(200 - HOUR)  # longer than a lease, in which no leader may have been there
    pass_term(platform.database)
    assert platform.driver.tick()
    assert "running" in states(platform, search)


def test_a_new_leader_does_not_wait_for_a_term_of_the_future(
    platform: Platform, set_clock: Callable[[float], None]
) -> None:
    set_clock(HOUR)
    assert platform.driver.tick()
    assert not platform.new_driver().tick()
    set_clock(0)
    assert platform.new_driver().tick()
