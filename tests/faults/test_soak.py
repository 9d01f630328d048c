"""Many faults at once, in an order that a seed fixes; PAPLOSS_SOAK_SECONDS says for how long."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from breakable import Breakable
from disturbances import SEARCH, expect_same, family, left_behind, limit_files, resume, suspend
from scenarios import check_ended
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from stack import Stack, wait_until

from paploss.controller.store.tables import Experiment, Trial

WORKERS = ("w0", "w1", "w2")
FORGIVING = {"max_failed_attempts": 100, "max_preemptions": 10_000}
"""A soak kills more than any operator would forgive."""

Outcome = Mapping[str, Any]


class Soak:
    """Strikes at random, remembers what is broken, and fixes it at a later strike."""

    def __init__(self, platform: Breakable, seed: int) -> None:
        self._platform = platform
        self._random = random.Random(seed)
        self._repairs: list[Callable[[], None]] = []
        self._deck: list[Callable[[], None]] = []
        self.running: list[str] = []
        """Searches to pause."""
        self.struck: list[str] = []

    def strike(self) -> None:
        """Break one thing more, and before it fix what is broken if that is much. Every strike comes in its turn."""
        if not self._deck:
            self._deck = [
                self.kill_trainer,
                self.kill_worker,
                self.stop_worker,
                self.freeze_worker,
                self.fill_disk,
                self.kill_controller,
                self.change_controller,
                self.kill_redis,
                self.restart_postgres,
                self.cut_network,
                self.hold_network,
                self.slow_redis,
                self.lose_replies,
                self.deliver_twice,
                self.pause_experiment,
            ]
            self._random.shuffle(self._deck)
        chosen = self._deck.pop()
        self.struck.append(chosen.__name__)
        if len(self._repairs) > 2:
            self.repair()
        chosen()

    def repair(self) -> None:
        """Make everything whole again."""
        self._platform.repair()
        while self._repairs:
            self._repairs.pop()()

    def kill_trainer(self) -> None:
        for trainer in self._platform.stack.trainers(self._random.choice(WORKERS))[:1]:
            with suppress(psutil.NoSuchProcess):
                trainer.kill()

    def kill_worker(self) -> None:
        self._end_worker(signal.SIGKILL)

    def stop_worker(self) -> None:
        self._end_worker(signal.SIGTERM)

    def freeze_worker(self) -> None:
        members = family(self._platform.stack.workers[self._random.choice(WORKERS)].pid)
        frozen = members[: self._random.choice([1, len(members)])]
        suspend(frozen)
        self._repairs.append(lambda: resume(frozen))

    def fill_disk(self) -> None:
        name = self._random.choice(WORKERS)
        limit_files(self._platform.stack, name, 0)
        self._repairs.append(lambda: limit_files(self._platform.stack, name, resource.RLIM_INFINITY))

    def kill_controller(self) -> None:
        self.repair()  # it starts only where it finds its servers
        self._platform.stack.kill_controller()
        self._platform.start_controller()

    def change_controller(self) -> None:
        """The workers move to a second one, which then leads; the fixing kills it, and the first leads again."""
        self.repair()
        self._platform.send_workers_to(self._platform.start_replica())
        self._repairs.append(self._change_back)
        self._platform.stack.kill_controller()
        self._platform.start_controller()

    def _change_back(self) -> None:
        self._platform.kill_replica()
        self._platform.send_workers_to(self._platform.stack.port)

    def kill_redis(self) -> None:
        self._platform.redis.stop(signal.SIGKILL)
        self._platform.redis.start()

    def restart_postgres(self) -> None:
        self._platform.postgres.stop(self._random.choice([signal.SIGINT, signal.SIGQUIT]))
        self._platform.stack.database.close()
        self._platform.postgres.start()

    def cut_network(self) -> None:
        self._wire().cut()

    def hold_network(self) -> None:
        self._wire().hold()

    def slow_redis(self) -> None:
        self._platform.to_redis.delay_seconds = 0.1

    def lose_replies(self) -> None:
        request = self._random.choice([b"claim", b"renew", b"result", b"release"])
        self._platform.to_controller.rob(b"POST /api/v1/leases/" + request, times=2)

    def deliver_twice(self) -> None:
        for request in (b"claim", b"renew", b"result", b"release"):
            self._platform.to_controller.replay(b"POST /api/v1/leases/" + request)

    def pause_experiment(self) -> None:
        experiment_id = self._random.choice(self.running)
        with suppress(httpx.TransportError):  # a controller that has fallen silent: no pause, and none to be missed
            self._platform.stack.http.post(f"experiments/{experiment_id}/pause")
        self._repairs.append(lambda: resume_experiment(self._platform.stack, experiment_id))

    def _wire(self) -> Any:
        platform = self._platform
        wire = self._random.choice([platform.to_controller, platform.to_redis, platform.to_postgres])
        self._repairs.append(wire.repair)
        return wire

    def _end_worker(self, number: signal.Signals) -> None:
        self.repair()  # a frozen worker hears no SIGTERM
        name = self._random.choice(WORKERS)
        self._platform.stack.kill_worker(name, number)
        self._platform.start_worker(name)


def submit(stack: Stack, **changes: Any) -> str:
    """Start a search, once, at a controller that may still be finding its servers again."""
    given = {"kind": "search", "profile": "synthetic", "algorithm": "ppo", "prune": False, "budgets": FORGIVING}
    given |= SEARCH | changes
    headers = {"Idempotency-Key": uuid4().hex}

    def ask() -> str | None:
        with suppress(httpx.TransportError):
            reply = stack.http.post("experiments", json=given, headers=headers)
            return str(reply.json()["id"]) if reply.is_success else None
        return None

    return str(wait_until(ask, "a search to be started"))


def resume_experiment(stack: Stack, experiment_id: str) -> None:
    """Have a search run on that may be paused, or may have ended."""

    def ask() -> bool:
        with suppress(httpx.TransportError):
            return stack.http.post(f"experiments/{experiment_id}/resume").status_code < 500
        return False

    wait_until(ask, "a search to be resumed")


def is_running(stack: Stack, experiment_ids: list[str]) -> bool:
    try:
        with stack.database.read() as session:
            states = session.scalars(select(Experiment.state).where(Experiment.id.in_(experiment_ids))).all()
    except SQLAlchemyError:
        return True
    return not {"running", "paused"}.isdisjoint(states)


def soak_seconds(default: float) -> float:
    return float(os.environ.get("PAPLOSS_SOAK_SECONDS", default))


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seconds", [10, pytest.param(240, marks=pytest.mark.slow)])
def test_many_faults_at_once(platform: Breakable, undisturbed: Outcome, seconds: float) -> None:
    stack = platform.stack
    for name in WORKERS:
        platform.start_worker(name, PAPLOSS_GRACE_SECONDS="3")
    soak = Soak(platform, seed=11)
    pause = random.Random(12)
    started, end = [], time.monotonic() + soak_seconds(seconds)
    try:
        while time.monotonic() < end:
            soak.repair()
            soak.running = [submit(stack), submit(stack, mode="stream", rounds=3, prune=True)]
            started += soak.running
            while is_running(stack, soak.running) and time.monotonic() < end:
                soak.strike()
                next_strike = time.monotonic() + pause.uniform(0.2, 2.0)
                wait_until(lambda at=next_strike: time.monotonic() >= at, "the next strike")
        soak.repair()
        for index, experiment_id in enumerate(started):
            resume_experiment(
                stack, experiment_id
            )  # a pause may have been held up in a wire and have come after the resume
            stack.wait_for(experiment_id, "succeeded")
            if index % 2 == 0:  # in stream mode, who ends first decides what comes next
                expect_same(stack, experiment_id, undisturbed)
            check_ended(stack.database, experiment_id)
    except AssertionError as error:
        error.add_note(f"struck: {', '.join(soak.struck)}")
        raise
    finally:
        soak.repair()
    with stack.database.read() as session:
        assert not session.scalars(select(Trial.id).where(Trial.state == "running")).all()
    for name in WORKERS:
        assert stack.kill_worker(name, signal.SIGTERM) == 0
    wait_until(lambda: not left_behind(stack), "the end of every process")
