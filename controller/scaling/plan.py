"""What to do about a pool's Jobs, decided from a listing alone: create some, delete some, or wait.

A Job that runs is never touched: a worker without work ends by itself, so the pool shrinks without killing a worker.
Only Jobs whose pod has not started are deleted, when they are too many or of an outdated template. Workers that are
deleted, evicted or preempted are no failures: they are replaced at once.

When something fails (a pod cannot be scheduled, an image cannot be pulled, a worker fails) the pool backs off: one Job
at a time is created, after a delay that doubles with each failure. A worker that runs well resets the delay. The first
batch is created at once: an autoscaler or a quota manager has to see the whole demand.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from paploss.controller.scaling.pools import Pool

JobState = Literal["suspended", "waiting", "starting", "running", "leaving", "succeeded", "failed"]

BURST = 20
"""Most Jobs created in one pass; the others follow in the next."""
FIRST_DELAY_SECONDS = 15.0
LONGEST_DELAY_SECONDS = 600.0
LASTING_SECONDS = 60.0
"""A worker that has run for this long shows that the pool works; a Job that has no pod by then, that it does not."""
SLOW_START_SECONDS = 600.0
"""A pod that has had a node for this long and does not run is reported: a large image takes minutes, hardly more."""
SLOW_START = (
    "{} has a node and has not begun for 10 minutes; `kubectl describe pod` tells why (a volume or a Secret that "
    "cannot be mounted, a large image)"
)
NO_POD = "no pod was made for the Job {}; `kubectl describe job` tells why (a quota, an admission rule)"


@dataclass(frozen=True)
class WorkerJob:
    """A Job of a pool, as the cluster lists it."""

    name: str
    uid: str
    resource_version: str
    ordinal: int
    template: str
    """Digest of the manifest that it was created from."""
    state: JobState
    """Of the pod that stays. suspended: a quota manager holds it · waiting: its pod has no node, or cannot start ·
    starting: its pod has a node · leaving: its pods are being deleted, no other follows."""
    trouble: str = ""
    """Why its pod cannot start, or how its worker failed; empty otherwise, and where it was disrupted."""
    pod: str = ""
    pod_version: str = ""
    leaving: int = 0
    """Pods that are being deleted and still run: they take no more trials and hold their GPUs."""

    @property
    def stays(self) -> bool:
        """Whether it is a worker, or becomes one."""
        return self.state in ("suspended", "waiting", "starting", "running")

    @property
    def ended(self) -> bool:
        """Whether none of its pods runs, and none will."""
        return self.state in ("succeeded", "failed") and not self.leaving


@dataclass(frozen=True)
class Plan:
    """What to do in one pool."""

    create: Sequence[int]
    """Ordinals of new Jobs."""
    withdraw: Sequence[WorkerJob]
    """Jobs to be deleted; their pods have not started."""
    clear: Sequence[WorkerJob]
    """Jobs that ended long enough ago."""
    trouble: str
    """What keeps workers from starting, for users; empty when nothing does."""


@dataclass
class BackOff:
    """The back-off of a pool since this process began to lead. Times are of one monotonic clock."""

    delay_seconds: float = 0.0
    """Between one try and the next; 0 where nothing is in the way."""
    retry_at: float = 0.0
    trouble: str = ""
    _failed_at: float | None = None
    """When the last worker failed, unless a later one has shown that the pool works."""
    _ended: dict[str, float] = field(default_factory=dict)
    _since: dict[tuple[str, str], float] = field(default_factory=dict)

    def observe(self, jobs: Sequence[WorkerJob], time: float) -> None:
        """Update from a listing."""
        news = [job for job in jobs if job.ended and job.uid not in self._ended]
        self._ended = {job.uid: self._ended.get(job.uid, time) for job in jobs if job.ended}
        phases = {job.uid: (job.uid, _phase(job)) for job in jobs if job.stays}
        self._since = {phase: self._since.get(phase, time) for phase in phases.values()}
        ages = [(job, time - self._since[phases[job.uid]]) for job in jobs if job.stays]
        lasting = [job for job, seconds in ages if seconds >= LASTING_SECONDS]
        failures = [job.trouble for job in news if job.state == "failed" and job.trouble]
        obstacles = [job.trouble for job in jobs if job.trouble and job.stays]
        obstacles += [NO_POD.format(job.name) for job in lasting if job.state == "waiting" and not job.pod]
        obstacles += [
            SLOW_START.format(job.pod)
            for job, seconds in ages
            if job.state == "starting" and job.pod and seconds >= SLOW_START_SECONDS
        ]
        if failures:
            self._failed_at = time
            self.wait_longer(failures[0], time)
        elif obstacles:
            self.trouble = obstacles[0]
            if not self.delay_seconds:
                self.wait_longer(obstacles[0], time)
        elif not self._is_in_doubt([*lasting, *news], time):
            self.delay_seconds, self.trouble, self._failed_at = 0.0, "", None

    def _is_in_doubt(self, jobs: Sequence[WorkerJob], time: float) -> bool:
        """Whether a worker has failed and none of these Jobs, which last or have just ended, shows that others do not.

        One that ran already when that one failed shows nothing: new ones may have another image, key or node. Where no
        more are wanted, and so none is tried, the failure is forgotten.
        """
        if self._failed_at is None or time >= self.retry_at + LONGEST_DELAY_SECONDS:
            return False
        return not any(
            job.state == "succeeded" or (job.state == "running" and self._since[job.uid, "running"] >= self._failed_at)
            for job in jobs
        )

    def seconds_since_end(self, job: WorkerJob, time: float) -> float:
        """How long ago an ended Job was first seen to have ended; 0 for others."""
        return time - self._ended.get(job.uid, time)

    def wait_longer(self, trouble: str, time: float) -> None:
        """Wait longer than before."""
        self.trouble = trouble
        self.delay_seconds = min(max(FIRST_DELAY_SECONDS, 2 * self.delay_seconds), LONGEST_DELAY_SECONDS)
        self.retry_at = time + self.delay_seconds

    def allow(self, missing: int, time: float) -> int:
        """How many of the missing Jobs may be created now."""
        if missing <= 0 or not self.delay_seconds:
            return max(0, min(missing, BURST))
        if time < self.retry_at:
            return 0
        self.wait_longer(self.trouble, time)
        return 1


def _phase(job: WorkerJob) -> str:
    return job.state if job.state in ("starting", "running") else "waiting"


def decide(
    pool: Pool,
    wanted_trials: int,
    jobs: Sequence[WorkerJob],
    *,
    template: str,
    back_off: BackOff,
    keep_ended_seconds: float,
    time: float,
) -> Plan:
    """What to do about one pool.

    Args:
        pool: its description.
        wanted_trials: trials that this pool should run at the same time.
        jobs: all its Jobs that are there, ended ones included.
        template: digest of the manifest that new ones are made from.
        back_off: the back-off from earlier passes; updated here.
        keep_ended_seconds: how long ended Jobs stay, with their pods' logs.
        time: now, in seconds of a monotonic clock.
    """
    back_off.observe(jobs, time)
    staying = [job for job in jobs if job.stays]
    leaving = sum(job.leaving for job in jobs)
    target = min(max(-(-wanted_trials // pool.slots), pool.minimum), pool.maximum)
    idle = sorted((job for job in staying if job.state in ("suspended", "waiting")), key=lambda job: -job.ordinal)
    outdated = [job for job in idle if job.template != template]
    surplus = [job for job in idle if job.template == template][: max(0, len(staying) - len(outdated) - target)]
    # What leaves is replaced at once, but holds its GPUs until it is gone: never more than maximum, all pods counted.
    missing = min(target, pool.maximum - leaving) - len(staying)
    free = _free_ordinals({job.ordinal for job in jobs})
    return Plan(
        create=[next(free) for _ in range(back_off.allow(missing, time))],
        withdraw=[*outdated, *surplus],
        clear=[job for job in jobs if job.ended and back_off.seconds_since_end(job, time) >= keep_ended_seconds],
        trouble=back_off.trouble,
    )


def share_out(pools: Iterable[Pool], wanted: Mapping[int, int]) -> dict[str, int]:
    """Trials for each pool by name: of several pools of one class the earlier ones are filled first."""
    left = dict(wanted)
    shares = {}
    for pool in pools:
        shares[pool.name] = min(left.get(pool.gpus, 0), pool.maximum * pool.slots)
        left[pool.gpus] = left.get(pool.gpus, 0) - shares[pool.name]
    return shares


def _free_ordinals(taken: set[int]) -> Iterator[int]:
    return (ordinal for ordinal in count() if ordinal not in taken)
