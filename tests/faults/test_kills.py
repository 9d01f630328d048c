"""kill -9 of a trainer, a worker or the controller, wherever it strikes: the search ends as if nothing had happened."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from disturbances import HASTY, SEARCH, TRIALS, await_ended, await_trainer, expect_same
from killed_controllers import tick_in_child
from scenarios import add_search, outcome, pass_term
from simulation import Platform
from stack import Stack, wait_until

from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.jobs.queue import TrialQueue

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]  # patience with busy machines

Outcome = Mapping[str, Any]


def kill_a_trainer(stack: Stack) -> None:
    def strike() -> bool:
        for trainer in stack.trainers("w0"):
            try:
                trainer.kill()
            except psutil.NoSuchProcess:
                continue
            return True
        return False

    wait_until(strike, "a trainer to kill")


def kill_a_worker(stack: Stack) -> None:
    await_trainer(stack, "w0")
    stack.kill_worker("w0", signal.SIGKILL)
    stack.start_worker("w0")


def kill_the_controller(stack: Stack) -> None:
    stack.kill_controller(signal.SIGKILL)
    stack.start_controller()


@pytest.mark.parametrize("strike", [kill_a_trainer, kill_a_worker, kill_the_controller])
def test_a_search_survives_kill_9(
    tmp_path: Path, redis_url: str, undisturbed: Outcome, strike: Callable[[Stack], None]
) -> None:
    with Stack(tmp_path, redis_url, **HASTY) as stack:
        stack.start_controller()
        for name in ("w0", "w1"):
            stack.start_worker(name)
        experiment_id = stack.submit(**SEARCH)
        for ended in (1, TRIALS - 4):  # in the first round, and in the last
            await_ended(stack, experiment_id, ended)
            strike(stack)
        expect_same(stack, experiment_id, undisturbed)
        assert stack.get("status")["trials"].get("running", 0) == 0


_WITH_LENGTHS = {"algorithm": "random", "mode": "stream", "lengths": {"fractions": [0.5, 1], "keep": 2}}


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("changes", [{}, _WITH_LENGTHS], ids=["one length", "two lengths"])
def test_a_controller_process_killed_at_any_step_of_a_round_update(
    database: Database, redis_url: str, tmp_path: Path, changes: dict[str, Any], stride: int
) -> None:
    """Every statement is also tried, faster and without a process, by the tests of the driver."""
    request = {"rounds": 1, "trials_per_round": 2, "confirm": {"candidates": 1, "seeds": 1}, "seed": 3} | changes
    settings = Settings(state_dir=tmp_path)
    with TrialQueue(redis_url) as queue:
        platform = Platform(database, queue, settings)
        undisturbed = outcome(database, platform.run(add_search(database, **request)).id)

        search = add_search(database, **request)
        url = database.url.render_as_string(hide_password=False)
        kills = 0
        while platform.search(search.id).state == "running":
            kill_at = 1
            pass_term(database)
            while not tick_in_child(url, redis_url, settings, kill_at):
                kills += 1
                kill_at += stride
                pass_term(database)
            platform.work()
        assert kills > 50 / stride
        assert outcome(database, search.id) == undisturbed
