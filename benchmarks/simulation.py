"""Simulated workers under the real scheduling code: who waits, and which trials each update sees."""

import heapq
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from paploss.controller.search.scheduling import (
    Fail,
    Finish,
    Propose,
    SearchProgress,
    SearchSchedule,
    Update,
    Wait,
    decide,
)


@dataclass(frozen=True)
class Fleet:
    """Workers that run one trial each, at log-normal durations."""

    workers: int = 64
    median_seconds: float = 60.0
    spread: float = 0.5
    """Standard deviation of the logarithm of a trial's duration."""
    tick_seconds: float = 0.5
    """How often the controller looks; the platform's default."""


@dataclass(frozen=True)
class Trial:
    """A simulated trial: which policy version proposed it, its number, and when it ended."""

    version: int
    index: int
    end_seconds: float


@dataclass
class Run:
    """What happened in one simulated search."""

    updates: list[list[Trial]] = field(default_factory=list)
    """The trials that each update consumed."""
    waiting: float = 0.0
    """Share of the workers' time, from the first proposal to the last result, in which they had no trial."""
    waiting_before_tail: float = 0.0
    """The same up to the start of the search's last trial: from there on there is nothing to hand out."""
    seconds: float = 0.0

    @property
    def staleness(self) -> list[int]:
        """How many versions old each consumed trial was."""
        return [version - trial.version for version, trials in enumerate(self.updates) for trial in trials]


def simulate(schedule: SearchSchedule, fleet: Fleet, seed: int) -> Run:
    """Play one search to its end. Raises RuntimeError where the scheduling code gives it up."""
    generator = np.random.default_rng(seed)
    queue: deque[tuple[int, int]] = deque()
    running: list[tuple[float, int, int]] = []  # a heap: end, version, index
    ready: list[Trial] = []
    run = Run()
    starts: list[float] = []
    ends: list[float] = []
    proposed = 0
    now = 0.0
    seen = 0  # trials that had ended when the leader looked before
    ended = 0

    def start_queued() -> None:
        while queue and len(running) < fleet.workers:
            version, index = queue.popleft()
            duration = fleet.median_seconds * float(np.exp(fleet.spread * generator.normal()))
            starts.append(now)
            heapq.heappush(running, (now + duration, version, index))

    def end_until(until: float) -> None:
        """Let trials end up to that moment; a worker takes its next trial from the queue at once."""
        nonlocal now
        while running and running[0][0] <= until:
            now, version, index = heapq.heappop(running)
            ends.append(now)
            ready.append(Trial(version, index, now))
            start_queued()
        now = until

    while True:
        progress = SearchProgress(
            updates=len(run.updates),
            open=len(queue) + len(running),
            ready=len(ready),
            unrewarded=0,
            workers=fleet.workers,
            ended=ended,
        )
        match decide(schedule, progress):
            case Propose(count):
                queue.extend((len(run.updates), proposed + i) for i in range(count))
                proposed += count
            case Update(count):
                run.updates.append(ready[:count])
                del ready[:count]
            case Wait():
                start_queued()
                ticks = np.floor(max(running[0][0], now) / fleet.tick_seconds) + 1
                end_until(float(ticks) * fleet.tick_seconds)
                seen, ended = len(ends), len(ends) - seen
            case Finish():
                break
            case Fail(reason):
                raise RuntimeError(reason)

    run.seconds = max(ends)
    run.waiting = _waiting(starts, ends, run.seconds, fleet.workers)
    run.waiting_before_tail = _waiting(starts, ends, max(starts), fleet.workers)
    return run


def _waiting(starts: list[float], ends: list[float], until: float, workers: int) -> float:
    """Share of the workers' time up to a moment in which they had no trial."""
    busy = np.minimum(ends, until).sum() - np.minimum(starts, until).sum()
    return max(0.0, float(1 - busy / (workers * until)))
