"""The loop of the elastic workers: while this process leads, compare what is wanted with what is there, and act."""

import logging
import threading
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paploss.controller.scaling.errors import ClusterError
from paploss.controller.scaling.plan import Patience, Plan, WorkerJob, decide, share_out
from paploss.controller.scaling.pools import Pool, Pools
from paploss.controller.store.database import Database, DatabaseError
from paploss.controller.store.events import record
from paploss.controller.store.experiments import list_waiting_for
from paploss.controller.store.reading import lists
from paploss.controller.store.trials.demand import count_wanted

if TYPE_CHECKING:  # the Kubernetes client takes a second to import and 50 MB: only who scales pays for it
    from paploss.controller.scaling.cluster import Cluster

logger = logging.getLogger(__name__)

SETTLED = "nothing is in the way of new workers any more"
_LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class _Told:
    """What was last said about a pool, and which searches have it in their logs."""

    trouble: str = ""
    searches: Set[str] = frozenset()


class Scaler:
    """Keeps the pools of one release at what the queue needs."""

    def __init__(
        self, database: Database, cluster: "Cluster", pools: Pools, leads: Callable[[], bool], pause_seconds: float
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._pools = pools
        self._leads = leads
        self._pause_seconds = pause_seconds
        self._patience = {pool.name: Patience() for pool in pools.pools}
        self._told: dict[str, _Told] = {}
        self._refusals = 0
        self._stop = threading.Event()

    @property
    def pool_names(self) -> Sequence[str]:
        """The pools that are configured."""
        return [pool.name for pool in self._pools.pools]

    def run(self) -> None:
        """Look again and again until `stop` is called; what goes wrong is logged, told, and tried again."""
        pause = self._pause_seconds
        while not self._stop.wait(pause):
            pause = self._pause_seconds
            if not self._leads():
                self._patience = {pool.name: Patience() for pool in self._pools.pools}
                self._told.clear()
                continue
            try:
                self.look()
                self._refusals = 0
            except (ClusterError, DatabaseError) as error:
                self._refusals += 1
                pause = min(self._pause_seconds * 2**self._refusals, max(_LONGEST_PAUSE_SECONDS, self._pause_seconds))
                logger.warning("the elastic workers: %s", error)
            except Exception:
                logger.exception("the loop of the elastic workers met a defect and will try again")

    def stop(self) -> None:
        """End `run` after the look that it is in."""
        self._stop.set()

    def look(self) -> None:
        """One look at everything.

        Raises:
            ClusterError: the cluster cannot be reached, or refuses; the searches' logs say so.
        """
        with self._database.read() as session:
            wanted = count_wanted(session)
        shares = share_out(self._pools.pools, wanted)
        try:
            jobs = self._cluster.list_jobs()
        except ClusterError as error:
            for pool in self._pools.pools:
                self._tell(pool, str(error))
            raise
        for pool in self._pools.pools:
            patience = self._patience[pool.name]
            plan = decide(
                pool,
                shares[pool.name],
                jobs[pool.name],
                template=pool.template,
                patience=patience,
                keep_ended_seconds=self._pools.keep_ended_seconds,
                time=time.monotonic(),
            )
            try:
                self._carry_out(pool, plan)
            except ClusterError as error:
                self._tell(pool, str(error))
                raise
            self._tell(pool, plan.trouble)
        for name in jobs.keys() - set(self.pool_names):
            self._dissolve(name, jobs[name])

    def _dissolve(self, pool: str, jobs: Sequence[WorkerJob]) -> None:
        """Take back what waits in a pool that is configured no more; its running workers end when they are idle."""
        for job in jobs:
            if job.ended:
                self._cluster.clear(job)
            elif job.state in ("suspended", "waiting"):
                logger.info("pool %s is no more: taking back %s, which has not begun", pool, job.name)
                self._cluster.withdraw(job)

    def _carry_out(self, pool: Pool, plan: Plan) -> None:
        for job in plan.clear:
            self._cluster.clear(job)
        for job in plan.withdraw:
            logger.info("pool %s: taking back %s, which has not begun", pool.name, job.name)
            self._cluster.withdraw(job)
        for ordinal in plan.create:
            logger.info("pool %s: creating worker %d", pool.name, ordinal)
            self._cluster.create(pool, ordinal)

    def _tell(self, pool: Pool, trouble: str) -> None:
        """Write what is in the way to the log of all when it changes, and to that of each search that waits for it."""
        told = self._told.get(pool.name) or self._recall(pool)
        changed = trouble != told.trouble
        if not changed and not trouble:
            self._told[pool.name] = told
            return
        with self._database.read() as session:
            waiting = list_waiting_for(session, pool.gpus)
        late = sorted(waiting if changed else waiting - told.searches)
        uninformed = [None, *late] if changed else late
        message = f"{lists.obstacle_prefix(pool.name)}{trouble or SETTLED}"
        if uninformed:
            with self._database.write() as session:
                for experiment_id in uninformed:
                    if trouble:
                        record(session, "workers_blocked", message, experiment_id=experiment_id, level="warning")
                    else:
                        record(session, "workers_unblocked", message, experiment_id=experiment_id)
        self._told[pool.name] = _Told(trouble, waiting)

    def _recall(self, pool: Pool) -> _Told:
        """What the leader before said of a pool: it stands until somebody says otherwise."""
        prefix = lists.obstacle_prefix(pool.name)
        with self._database.read() as session:
            standing = lists.standing_obstacles(session, [pool.name])
        return _Told("; ".join(message.removeprefix(prefix) for message in standing))
