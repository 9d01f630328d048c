"""What the fault tests share: one search, what it comes to when nobody disturbs it, and ways to disturb it."""

import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from scenarios import check_ended, outcome
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from stack import Stack, wait_until

from paploss.client.states import OPEN_TRIAL_STATES
from paploss.controller.store.tables import Trial

ROUNDS, TRIALS_PER_ROUND = 2, 3
ITERATIONS = 10
SEARCH: dict[str, Any] = {
    "rounds": ROUNDS,
    "trials_per_round": TRIALS_PER_ROUND,
    "seed": 7,
    "confirm": {"candidates": 1, "seeds": 1},
    "synthetic": {"iterations": ITERATIONS, "iteration_seconds": 0.04},
}
TRIALS = ROUNDS * TRIALS_PER_ROUND + 2  # one candidate and the identity are confirmed

HASTY = {"PAPLOSS_LEASE_SECONDS": "1.5", "PAPLOSS_RENEW_SECONDS": "0.3"}
"""Settings under which a fault that lasts longer than a lease costs a test two seconds; others are those of `Stack`."""


def expect_same(stack: Stack, experiment_id: str, undisturbed: object) -> None:
    """The search ends as if nobody had disturbed it: the same rows, each training counted once, nothing open."""
    stack.wait_for(experiment_id, "succeeded")
    check_ended(stack.database, experiment_id)
    assert outcome(stack.database, experiment_id) == undisturbed


def read_trials(stack: Stack, experiment_id: str) -> Sequence[Trial]:
    """The search's rows, read beside the controller, so that it works whatever has become of that."""
    with stack.database.read() as session:
        return session.scalars(select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.number)).all()


def await_trials(stack: Stack, experiment_id: str, holds: Callable[[Sequence[Trial]], Any], what: str) -> Any:
    """What `holds` says of the search's rows as soon as that is true; a database that is away is waited for."""

    def look() -> Any:
        with suppress(SQLAlchemyError):
            return holds(read_trials(stack, experiment_id))

    return wait_until(look, what)


def await_ended(stack: Stack, experiment_id: str, count: int) -> None:
    """Wait until so many trials have ended."""
    await_trials(
        stack,
        experiment_id,
        lambda trials: sum(trial.state not in OPEN_TRIAL_STATES for trial in trials) >= count,
        f"{count} trials to end",
    )


def await_iterations(stack: Stack, experiment_id: str, count: int) -> None:
    """Wait until the trials together have come so far."""
    await_trials(
        stack, experiment_id, lambda trials: sum(trial.iteration for trial in trials) >= count, f"{count} iterations"
    )


def await_trainer(stack: Stack, worker: str, trial_id: str | None = None) -> tuple[psutil.Process, str]:
    """A trainer of the worker as soon as it trains, of a certain trial if one is named; and its trial's id."""

    def look() -> tuple[psutil.Process, str] | None:
        for trainer in stack.trainers(worker):
            found = trial_of(trainer)
            if found is not None and trial_id in (None, found):
                return trainer, found
        return None

    return tuple(wait_until(look, f"{worker} to train {trial_id or 'something'}"))  # type: ignore[return-value]


def trial_of(trainer: psutil.Process) -> str | None:
    """The id of the trial that a trainer trains; none if it has ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        for part in trainer.cmdline():
            if part.endswith("job.json"):
                return Path(part).parts[-3]
    return None


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    head = psutil.Process(pid)
    return [head, *head.children(recursive=True)]


def suspend(processes: Sequence[psutil.Process]) -> None:
    """Freeze them, as far as they live."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()


def resume(processes: Sequence[psutil.Process]) -> None:
    """Wake them."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def limit_files(stack: Stack, worker: str, size_bytes: int) -> None:
    """A quota on the files of a worker and its trainers: what they write beyond it fails, as on a full disk."""
    for process in family(stack.workers[worker].pid):
        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def left_behind(stack: Stack) -> list[psutil.Process]:
    """Live processes that work in the stack's state folder, or under one of its workers."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if any(str(stack.state) in part for part in process.cmdline()):
                found.append(process)
    return found
