"""What keeps workers from starting is told while it lasts, of pools that are configured, whoever leads."""

from pathlib import Path
from typing import get_args

import pytest
from controllers import RunningController

from paploss.controller.scaling.errors import ClusterError
from paploss.controller.scaling.plan import JobState, WorkerJob
from paploss.controller.scaling.pools import Pool, Pools
from paploss.controller.scaling.scaler import Scaler
from paploss.controller.store.database import Database
from paploss.controller.store.events import record
from paploss.controller.store.reading import lists

REFUSED = "cannot list the workers' Jobs: 403 jobs.batch is forbidden"


class PlayedCluster:
    """Refuses while it is told to, and has Jobs of a pool that is no more otherwise."""

    refusal = ""
    refused: frozenset[str] = frozenset()
    """Pools of which no worker may be created."""

    def __init__(self, *old: WorkerJob) -> None:
        self.old = old
        self.withdrawn: list[str] = []
        self.cleared: list[str] = []
        self.created: list[tuple[str, int]] = []

    def create(self, pool: Pool, ordinal: int) -> None:
        if pool.name in self.refused:
            raise ClusterError(f"cannot create a worker of pool {pool.name}: 403 a policy of the cluster")
        self.created.append((pool.name, ordinal))

    def withdraw(self, job: WorkerJob) -> None:
        self.withdrawn.append(job.name)

    def clear(self, job: WorkerJob) -> None:
        self.cleared.append(job.name)

    def list_jobs(self) -> dict[str, list[WorkerJob]]:
        if self.refusal:
            raise ClusterError(self.refusal)
        return {"cpu": [], "gpu": [], "old": list(self.old)}


def make_scaler(database: Database, cluster: PlayedCluster, minimum: int = 0) -> Scaler:
    made = [
        Pool.model_validate({"name": name, "gpus": gpus, "minimum": minimum, "maximum": 1, "job": {}})
        for name, gpus in (("cpu", 0), ("gpu", 1))
    ]
    pools = Pools(namespace="ml", prefix="demo", owner="demo-pools", labels={"a": "b"}, pools=tuple(made))
    return Scaler(database, cluster, pools, lambda: True, 1.0)  # type: ignore[arg-type]


def standing(database: Database, *pools: str) -> list[str]:
    with database.read() as session:
        return lists.standing_obstacles(session, pools)


def test_an_obstacle_is_told_until_it_is_gone(database: Database) -> None:
    cluster = PlayedCluster()
    scaler = make_scaler(database, cluster)
    cluster.refusal = REFUSED
    with pytest.raises(ClusterError):
        scaler.look()
    assert standing(database, "gpu") == [f"workers of pool gpu: {REFUSED}"]
    cluster.refusal = ""
    scaler.look()
    assert standing(database, "gpu") == []


def test_an_obstacle_that_was_mended_by_a_restart_is_gone_with_the_next_look(database: Database) -> None:
    cluster = PlayedCluster()
    cluster.refusal = REFUSED
    with pytest.raises(ClusterError):
        make_scaler(database, cluster).look()
    cluster.refusal = ""
    make_scaler(database, cluster).look()
    assert standing(database, "gpu") == []


def test_a_pool_whose_workers_are_refused_holds_up_no_other_pool(database: Database) -> None:
    cluster = PlayedCluster()
    cluster.refused = frozenset({"cpu"})
    with pytest.raises(ClusterError):
        make_scaler(database, cluster, minimum=1).look()
    assert cluster.created == [("gpu", 0)]
    told = "workers of pool cpu: cannot create a worker of pool cpu: 403 a policy of the cluster"
    assert standing(database, "cpu", "gpu") == [told]


def test_an_obstacle_of_a_pool_that_is_no_more_is_none(database: Database) -> None:
    with database.write() as session:
        record(session, "workers_blocked", f"workers of pool spot: {REFUSED}", level="warning")
        record(session, "workers_blocked", "workers of pool gpu: no GPU", level="warning")
        for _ in range(60):  # however much has been said of other pools since
            record(session, "workers_unblocked", "workers of pool other: nothing is in the way")
    assert standing(database, "gpu", "other") == ["workers of pool gpu: no GPU"]


def test_what_waits_in_a_pool_that_is_no_more_is_taken_back_and_what_runs_is_not(database: Database) -> None:
    old = [
        WorkerJob(f"old-{state}", f"uid-{state}", "1", ordinal, "t", state)
        for ordinal, state in enumerate(get_args(JobState))
    ]
    cluster = PlayedCluster(*old)
    make_scaler(database, cluster).look()
    assert cluster.withdrawn == ["old-suspended", "old-waiting"]
    assert cluster.cleared == ["old-succeeded", "old-failed"]


def test_static_workers_have_no_obstacles_of_an_elastic_past(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    with RunningController(sqlite_url, redis_url, tmp_path) as controller, controller.client() as client:
        with controller.services.database.write() as session:
            record(session, "workers_blocked", f"workers of pool gpu: {REFUSED}", level="warning")
        checks = {check.name: check for check in client.status().readiness.checks}
        assert checks["workers"].ok, checks["workers"].detail
