"""The loop of the elastic workers: while this process leads, compare the wanted Jobs with those there are, and act."""

import logging
import threading
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paploss.controller.scaling.errors import ClusterError
from paploss.controller.scaling.plan import BackOff, Plan, WorkerJob, decide, share_out
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
    """The last message about a pool, and which searches have it in their logs."""

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
        self._back_offs = {pool.name: BackOff() for pool in pools.pools}
        self._told: dict[str, _Told] = {}
        self._stop = threading.Event()

    @property
    def pool_names(self) -> Sequence[str]:
        """The pools that are configured."""
        return [pool.name for pool in self._pools.pools]

    def run(self) -> None:
        """Run until `stop` is called; errors are logged, written to the searches' logs, and retried."""
        pause = self._pause_seconds
        while not self._stop.wait(pause):
            if not self._leads():
                self._back_offs = {pool.name: BackOff() for pool in self._pools.pools}
                self._told.clear()
                pause = self._pause_seconds
                continue
            try:
                self.look()
                pause = self._pause_seconds
            except (ClusterError, DatabaseError) as error:
                pause = min(2 * pause, max(_LONGEST_PAUSE_SECONDS, self._pause_seconds))
                logger.warning("the elastic workers: %s", error)
            except Exception:
                logger.exception("the loop of the elastic workers met a defect and will try again")

    def stop(self) -> None:
        """End `run` after the current pass."""
        self._stop.set()

    def look(self) -> None:
        """One pass over all pools.

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
        refusal: ClusterError | None = None
        for pool in self._pools.pools:
            back_off = self._back_offs[pool.name]
            plan = decide(
                pool,
                shares[pool.name],
                jobs[pool.name],
                template=pool.template,
                back_off=back_off,
                keep_ended_seconds=self._pools.keep_ended_seconds,
                time=time.monotonic(),
            )
            try:
                self._carry_out(pool, plan)
            except ClusterError as error:  # perhaps of this pool alone: the others get their workers
                self._tell(pool, str(error))
                refusal = error
            else:
                self._tell(pool, plan.trouble)
        for name in jobs.keys() - set(self.pool_names):
            self._dissolve(name, jobs[name])
        if refusal is not None:
            raise refusal

    def _dissolve(self, pool: str, jobs: Sequence[WorkerJob]) -> None:
        """Delete waiting Jobs of a pool that is no longer configured; its running workers end when they are idle."""
        for job in jobs:
            if job.ended:
                self._cluster.clear(job)
            elif job.state in ("suspended", "waiting"):
                logger.info("pool %s is no longer configured: deleting %s, which has not started", pool, job.name)
                self._cluster.withdraw(job)

    def _carry_out(self, pool: Pool, plan: Plan) -> None:
        for job in plan.clear:
            self._cluster.clear(job)
        for job in plan.withdraw:
            logger.info("pool %s: deleting %s, which has not started", pool.name, job.name)
            self._cluster.withdraw(job)
        for ordinal in plan.create:
            logger.info("pool %s: creating worker %d", pool.name, ordinal)
            self._cluster.create(pool, ordinal)

    def _tell(self, pool: Pool, trouble: str) -> None:
        """When what keeps workers from starting changes, log it globally and in the log of each waiting search."""
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
        """The previous leader's message about a pool: it holds until there is another."""
        prefix = lists.obstacle_prefix(pool.name)
        with self._database.read() as session:
            standing = lists.standing_obstacles(session, [pool.name])
        return _Told("; ".join(message.removeprefix(prefix) for message in standing))
