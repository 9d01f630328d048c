"""Workers that are taken from a search: deleted, drained, preempted, interrupted, lost with their node.

The server's own Job controller (1.20) starts another pod for a deleted one and calls the Job complete when the first
has ended; what Kubernetes 1.25 to 1.28 do instead is played. `podReplacementPolicy` (1.29) is in test_pods.py.
"""

from collections.abc import Callable
from typing import Any

import pytest
from clusters import Namespace, PlayedNode, Release
from stack import Stack, wait_until

pytestmark = pytest.mark.cluster

MAXIMUM = 2
SPEC: dict[str, Any] = {
    "gpus": 1,
    "trials_per_round": 4,
    "synthetic": {"iterations": 40, "iteration_seconds": 0.1},
    "confirm": {"candidates": 1, "seeds": 1},
}


def staying(namespace: Namespace) -> list[Any]:
    """Pods of workers that take trials, or will."""
    return [
        pod
        for pod in namespace.pods()
        if pod.status.phase in ("Pending", "Running") and not pod.metadata.deletion_timestamp
    ]


def run_search(release: Release, stack: Stack, node: PlayedNode, disturb: Callable[[Any], None]) -> None:
    """A search that is disturbed once, when all of its workers train; it has to end well, within the maximum."""
    namespace = release.namespace
    experiment_id = stack.submit(**SPEC)

    def training() -> bool:
        node.look()
        return sum(trial["state"] == "running" for trial in stack.trials(experiment_id)) == MAXIMUM

    wait_until(training, "all workers to train")
    disturb(next(pod for pod in staying(namespace) if pod.status.phase == "Running"))
    most = 0

    def ended() -> bool:
        nonlocal most
        node.look()
        most = max(most, len(staying(namespace)))
        return bool(stack.get(f"experiments/{experiment_id}")["state"] != "running")

    wait_until(ended, "the search to end")
    assert most <= MAXIMUM
    assert stack.get(f"experiments/{experiment_id}")["state"] == "succeeded"
    assert {trial["state"] for trial in stack.trials(experiment_id)} == {"succeeded"}
    log = stack.get(f"experiments/{experiment_id}/log", limit=200)["items"]
    blocked = [line["message"] for line in log if line["kind"] == "workers_blocked"]
    # The next worker may wait for the GPU of one that is leaving.
    assert all("cannot be scheduled: 0/1 nodes are available" in message for message in blocked), blocked


@pytest.mark.parametrize("counts_deleted_as_failed", [False, True], ids=["old", "new"])
@pytest.mark.parametrize("way", ["delete", "evict", "interrupt", "lose"])
def test_a_disrupted_worker_costs_nothing(release: Release, way: str, counts_deleted_as_failed: bool) -> None:
    release.install(pool={"maximum": MAXIMUM})
    with release.start() as stack:
        node = PlayedNode(release.namespace, stack, counts_deleted_as_failed=counts_deleted_as_failed)
        run_search(release, stack, node, getattr(node, way))


def test_a_worker_is_preempted_by_a_pod_of_higher_priority(release: Release) -> None:
    namespace = release.namespace
    release.install(pool={"maximum": MAXIMUM})
    with release.start() as stack, namespace.priority_class(1000) as priority:
        node = PlayedNode(namespace, stack)

        def preempt(_: Any) -> None:
            container = {"name": "urgent", "image": "-", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
            spec = {"priorityClassName": priority, "containers": [container]}
            urgent: Any = {"metadata": {"name": "urgent"}, "spec": spec}
            namespace.core.create_namespaced_pod(namespace.name, urgent)

            def makes_room() -> bool:
                node.look()
                found: Any = namespace.core.read_namespaced_pod("urgent", namespace.name)
                return bool(found.spec.node_name)

            wait_until(makes_room, "the scheduler to make room")

        run_search(release, stack, node, preempt)
        namespace.core.delete_namespaced_pod("urgent", namespace.name, grace_period_seconds=0)
