"""What a search does next: propose trials, update its algorithm, wait, or end. Pure decisions from counts.

The controller's loop and the simulation in `benchmarks/` call the same function.

`round`: a round's trials go out together; the algorithm is updated when all of them are final. Failed ones leave the
mean; with fewer than 2 rewards the missing ones are proposed anew. Workers wait for the slowest trial of each round.

`stream`: proposals go out whenever the backlog is smaller than what the workers need, and an update consumes any n
finished trials. No worker waits before the last trials of the search. Trials that run while others finish learn of it
too late: on average a trial is as many versions old as n fits into the trials open at once. The cap of
n * max_staleness open trials bounds that, at the price of idle workers where there are more of them than that.

In both modes a search consumes rounds * n rewards (in `round` mode fewer by the failed trials).

Promotions (`paploss.controller.search.halving`) come on top: they go out as soon as they are due,
before others, and the search does not end before they have.
"""

from dataclasses import dataclass
from typing import Final, Literal, assert_never

Mode = Literal["round", "stream"]

MOST_AT_ONCE: Final = 100
"""Trials that one action proposes: an action is a transaction, and others wait for it."""
MOST_REPLACEMENTS: Final = 2
"""A round that has lost more than n times as many trials, and has too few rewards, ends the search."""


@dataclass(frozen=True, kw_only=True)
class SearchSchedule:
    """The settings of one search.

    Raises ValueError where a number is below its least value.
    """

    mode: Mode
    rounds: int
    trials_per_round: int
    max_staleness: int = 16
    """`stream`: at most n times as many trials are open at once; a policy leaves out samples that are older."""

    def __post_init__(self) -> None:
        least = {"rounds": 1, "trials_per_round": 2, "max_staleness": 1}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"{name}: expected {minimum} or more, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class SearchProgress:
    """Where a search stands; proxy trials only."""

    updates: int
    """Done so far, which is the version of the algorithm and the number of the running round."""
    open: int
    """Trials queued or running, of any version."""
    ready: int
    """Trials with a reward that no update has consumed."""
    unrewarded: int
    """Trials that ended without a reward since the last update."""
    workers: int
    """Trials that the live workers can run at the same time."""
    ended: int = 0
    """Trials that have ended since the last look."""
    due: int = 0
    """Finished trials that are to be promoted."""
    promotions: int = 0
    """Of the open trials, those that are promotions."""


@dataclass(frozen=True)
class Pace:
    """How fast the trials of a search go."""

    workers: int
    """Trials that the live workers can run at the same time."""
    ended: int
    """Trials that have ended since the last look."""


@dataclass(frozen=True)
class Propose:
    """Propose so many trials from the current version of the algorithm."""

    count: int


@dataclass(frozen=True)
class Promote:
    """Carry on so many finished trials."""

    count: int


@dataclass(frozen=True)
class Update:
    """Update the algorithm from the `count` ready trials that finished first."""

    count: int


@dataclass(frozen=True)
class Wait:
    """Nothing to do until a trial ends or a worker appears."""


@dataclass(frozen=True)
class Finish:
    """All updates are done: choose the final parameters."""


@dataclass(frozen=True)
class Fail:
    """The search cannot go on."""

    reason: str


Action = Propose | Promote | Update | Wait | Finish | Fail


def decide(schedule: SearchSchedule, progress: SearchProgress) -> Action:
    """The one next action. Carry it out, bring `progress` up to date, and ask again until the answer is to wait or end.

    A search that finishes leaves no trial open: no more are proposed than the updates still to come will consume.
    """
    if progress.due:
        return Promote(min(progress.due, MOST_AT_ONCE))
    if progress.updates >= schedule.rounds:
        return Wait() if progress.promotions else Finish()
    match schedule.mode:
        case "round":
            return _decide_round(schedule, progress)
        case "stream":
            return _decide_stream(schedule, progress)
        case _:
            assert_never(schedule.mode)


def _decide_round(schedule: SearchSchedule, progress: SearchProgress) -> Action:
    unproposed = schedule.trials_per_round - (progress.open + progress.ready + progress.unrewarded)
    if unproposed > 0:
        return Propose(min(unproposed, MOST_AT_ONCE))
    if progress.open:
        return Wait()
    if progress.ready >= 2:
        return Update(progress.ready)
    if too_many := _too_many_failures(schedule, progress):
        return too_many
    return Propose(schedule.trials_per_round - progress.ready)


def _decide_stream(schedule: SearchSchedule, progress: SearchProgress) -> Action:
    n = schedule.trials_per_round
    if progress.ready >= n:
        return Update(n)
    if too_many := _too_many_failures(schedule, progress):
        return too_many
    # A spare trial for every eight workers, so that one that ends finds work before the controller has looked again.
    # Where each worker ended more than one since its last look, trials are too short for that: spare are then twice as
    # many as ended, for there may have been too few. And never fewer than an update needs, so that a search without
    # workers shows how many it could use.
    spare = 2 * progress.ended if progress.ended > progress.workers else -(-progress.workers // 8)
    wanted = max(n, progress.workers + spare)
    to_come = (schedule.rounds - progress.updates) * n - progress.ready
    count = min(min(wanted, n * schedule.max_staleness) - progress.open, to_come + progress.promotions - progress.open)
    return Propose(min(count, MOST_AT_ONCE)) if count > 0 else Wait()


def _too_many_failures(schedule: SearchSchedule, progress: SearchProgress) -> Fail | None:
    if progress.unrewarded <= MOST_REPLACEMENTS * schedule.trials_per_round:
        return None
    return Fail(
        f"{progress.unrewarded} trials of round {progress.updates} ended without a reward "
        f"and {progress.ready} with one; an update needs more"
    )
