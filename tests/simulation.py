"""The controller's loop without processes: the driver ticks by hand, and workers are played on the real queue."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scenarios import pass_term
from sqlalchemy import select, update

from paploss.controller.loop import leases
from paploss.controller.loop.driver import Driver
from paploss.controller.search.guided import _learn
from paploss.controller.settings import Settings
from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError, GoneError
from paploss.controller.store.tables import Attempt, Event, Experiment, Round, Trial
from paploss.jobs.lease import PROTOCOL, ClaimRequest, Lease, RenewRequest, ResultRequest, WorkerInfo
from paploss.jobs.metrics import Metrics, measure
from paploss.jobs.queue import QueueEntry, TrialQueue
from paploss.jobs.spec import EvaluationEvent, JobResult, JobSpec, ProgressEvent


def reward_of(job: JobSpec) -> float:
    """A smooth function of the loss with its best away from the start, plus a little noise that the seed fixes."""
    head = job.loss.heads["bbox_head"]
    points = np.asarray(head.control_points)
    distance = np.abs(points[..., 1] - points[..., 0] ** 2).mean() + abs(np.log10(head.gradient_scale) - 0.5)
    noise = np.random.default_rng(job.seed).normal(0, 0.001)
    return float(np.clip(0.5 - 0.4 * distance + noise, 0, 1)) * job.length**0.5


@dataclass
class Platform:
    """A controller and its workers, all in this thread."""

    database: Database
    queue: TrialQueue
    settings: Settings

    def __post_init__(self) -> None:
        self.driver = self.new_driver()

    def new_driver(self) -> Driver:
        """A controller that has just started."""
        return Driver(self.database, self.queue, self.settings)

    def run_to_the_end(self, experiment_id: str, *, most_ticks: int, killed: bool) -> None:
        """Tick and work in turn until a search has succeeded; `killed`: each tick by a new process."""
        for _ in range(most_ticks):
            self.driver.tick()
            if killed:
                _learn.cache_clear()
                pass_term(self.database)
                self.driver = self.new_driver()
            if self.search(experiment_id).state == "succeeded":
                return
            self.work(1)

    def take(self, worker: str = "w1", gpus: int = 0) -> QueueEntry | None:
        return self.queue.take([gpus], worker, block_seconds=0.001, takeover_seconds=60)

    def claim(self, trial_id: str, worker: str = "w1") -> Lease:
        info = WorkerInfo(name=worker)
        request = ClaimRequest(claim_id=uuid.uuid4(), trial_id=trial_id, worker=info)
        return leases.claim(self.database, self.settings, request, PROTOCOL)

    def start(self, worker: str = "w1", gpus: int = 0) -> Lease | None:
        """Take the next trial from the queue, claim it and renew once; none where nothing can be had."""
        while (entry := self.take(worker, gpus)) is not None:
            try:
                lease = self.claim(entry.trial_id, worker)
            except (ConflictError, GoneError):
                self.queue.acknowledge(entry)
                continue
            self.queue.acknowledge(entry)
            self.renew(lease)
            return lease
        return None

    def renew(self, lease: Lease, *aps: float) -> str:
        """`aps`: what was measured after each tenth of the training."""
        request = RenewRequest(
            trial_id=lease.trial_id,
            token=lease.token,
            progress=ProgressEvent(iteration=2 * len(aps), total_iterations=20),
            evaluations=tuple(
                EvaluationEvent(
                    iteration=2 * (index + 1),
                    total_iterations=20,
                    metrics=metrics(ap),
                    reward=measure(lease.job.reward, metrics(ap)),
                )
                for index, ap in enumerate(aps)
            ),
        )
        return leases.renew(self.database, self.settings, request).command

    def finish(self, lease: Lease, result: JobResult | None = None) -> str:
        if result is None:
            reward = reward_of(lease.job)
            result = JobResult(outcome="succeeded", reward=reward, metrics=metrics(reward))
        request = ResultRequest(trial_id=lease.trial_id, token=lease.token, result=result)
        return leases.finish(self.database, request).state

    def work(self, count: int = 1_000_000, result: JobResult | None = None) -> int:
        """One worker runs trials until the queue is empty, `count` at most; returns how many."""
        for done in range(count):
            lease = self.start()
            if lease is None:
                return done
            self.finish(lease, result)
        return count

    def run(self, search: Experiment, ticks: int = 1000) -> Experiment:
        """Tick and work until the search ends."""
        for _ in range(ticks):
            self.driver.tick()
            found = self.search(search.id)
            if found.state in ("succeeded", "failed", "cancelled"):
                return found
            self.work()
        raise AssertionError(f"search {search.id} has not ended after {ticks} ticks")

    def set_hours(self, trial_ids: Sequence[str], hours: float) -> None:
        """Have the attempts of some ended trials taken so long."""
        with self.database.write() as session:
            its = Attempt.trial_id.in_(trial_ids)
            session.execute(update(Attempt).where(its).values(claimed_at=Attempt.ended_at - 3600 * hours))

    def search(self, experiment_id: str) -> Experiment:
        with self.database.read() as session:
            return session.get_one(Experiment, experiment_id)

    def trials(self, search: Experiment, **filters: Any) -> list[Trial]:
        with self.database.read() as session:
            query = select(Trial).where(Trial.experiment_id == search.id).filter_by(**filters).order_by(Trial.number)
            return list(session.scalars(query))

    def rounds(self, search: Experiment) -> list[Round]:
        with self.database.read() as session:
            return list(session.scalars(select(Round).where(Round.experiment_id == search.id).order_by(Round.number)))

    def events(self, search: Experiment) -> list[str]:
        with self.database.read() as session:
            return list(session.scalars(select(Event.kind).where(Event.experiment_id == search.id).order_by(Event.id)))


def metrics(ap: float) -> Metrics:
    return Metrics(ap=ap, ap50=min(1.0, 2 * ap), ap75=ap, ap_small=-1, ap_medium=ap, ap_large=ap)
