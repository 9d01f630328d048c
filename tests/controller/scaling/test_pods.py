"""How a Job and its pods are read, as the Job controllers of several versions of Kubernetes leave them."""

import json
from typing import Any

import pytest
from kubernetes import client

from paploss.controller.scaling.plan import WorkerJob
from paploss.controller.scaling.pods import describe, describe_orphans

NOW = "2026-01-01T00:00:00Z"
LABELS = {"paploss/pool": "gpu", "paploss/ordinal": "4", "job-name": "demo-gpu-4"}
BACKOFF = {
    "type": "Failed",
    "status": "True",
    "reason": "BackoffLimitExceeded",
    "message": "Job has reached the specified backoff limit",
}
COMPLETE = {"type": "Complete", "status": "True"}
DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}


def parse(content: dict[str, Any], kind: str) -> Any:
    """An object as the client makes it of a server's answer."""
    return client.ApiClient().deserialize(json.dumps(content), kind, "application/json")  # type: ignore[no-untyped-call]


def job(*conditions: dict[str, Any], policy: str | None = None, **metadata: Any) -> Any:
    metadata = {"name": "demo-gpu-4", "uid": "u", "resourceVersion": "7", "labels": LABELS} | metadata
    spec = {"template": {"spec": {"containers": []}}} | ({"podReplacementPolicy": policy} if policy else {})
    return parse({"metadata": metadata, "spec": spec, "status": {"conditions": list(conditions)}}, "V1Job")


def pod(phase: str, *, leaving: bool = False, exit_status: int | None = None, **status: Any) -> Any:
    metadata = {"name": f"pod-{phase.lower()}", "resourceVersion": "9", "labels": LABELS, "creationTimestamp": NOW}
    if leaving:
        metadata["deletionTimestamp"] = NOW
    if exit_status is not None:
        ended = {"terminated": {"exitCode": exit_status, "reason": "Error", "message": "worker: no GPU"}}
        status["containerStatuses"] = [
            {"name": "worker", "image": "-", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
        ]
    spec = {"containers": [], "nodeName": "gpu-0"}
    return parse({"metadata": metadata, "spec": spec, "status": {"phase": phase} | status}, "V1Pod")


def test_a_replacement_works_on_although_its_job_is_complete() -> None:
    """Kubernetes before 1.29: the Job started another pod for a deleted one, which then ended with status 0."""
    found = describe(job(COMPLETE), [pod("Succeeded"), pod("Running")])
    assert (found.state, found.pod, found.leaving) == ("running", "pod-running", 0)
    assert found.stays
    assert not found.ended


def test_a_replacement_counts_beside_the_pod_that_leaves() -> None:
    found = describe(job(), [pod("Running", leaving=True), pod("Pending")])
    assert (found.state, found.leaving) == ("starting", 1)


def test_before_the_replacement_is_there_its_job_is_a_worker_still() -> None:
    found = describe(job(), [pod("Running", leaving=True)])
    assert (found.stays, found.leaving) == (True, 1)


def test_a_job_that_failed_at_once_for_its_deleted_pod_holds_a_gpu_until_that_has_left() -> None:
    """Kubernetes 1.25 to 1.28."""
    found = describe(job(BACKOFF), [pod("Running", leaving=True)])
    assert (found.stays, found.ended, found.leaving, found.trouble) == (False, False, 1, "")
    assert describe(job(BACKOFF), []).ended


def test_with_the_replacement_policy_no_other_pod_follows() -> None:
    """Kubernetes 1.29 and newer."""
    found = describe(job(policy="Failed"), [pod("Running", leaving=True)])
    assert (found.state, found.stays, found.leaving) == ("leaving", False, 1)
    assert describe(job(COMPLETE, policy="Failed"), [pod("Succeeded", leaving=True)]).state == "succeeded"


@pytest.mark.parametrize(
    "ended",
    [
        None,
        pod("Failed", leaving=True, exit_status=137),
        pod("Failed", exit_status=137, conditions=[DISRUPTED]),
        pod("Failed", reason="Evicted", message="The node was low on resource: memory."),
        pod(
            "Failed",
            reason="Evicted",
            message="The node was low on resource: memory. Container worker was using 20Gi, which exceeds its request "
            "of 16Gi. ",
        ),
        pod("Failed", reason="Preempting", message="Preempted in order to admit critical pod"),
        pod("Failed", reason="Terminated", message="Pod was terminated in response to imminent node shutdown."),
        pod("Failed", reason="Shutdown", message="Node is shutting, evicting pods"),
        pod("Failed", reason="NodeLost", message="Node gpu-0 which was running pod is unresponsive"),
    ],
    ids=[
        "deleted",
        "killed",
        "evicted",
        "pressure",
        "old pressure",
        "preempted",
        "spot",
        "shutdown",
        "node lost",
    ],
)
def test_a_disrupted_worker_is_no_obstacle(ended: Any) -> None:
    found = describe(job(BACKOFF), [] if ended is None else [ended])
    assert (found.state, found.trouble, found.ended) == ("failed", "", True)


@pytest.mark.parametrize(
    ("ended", "trouble"),
    [
        (pod("Failed", exit_status=2), "a worker failed with exit status 2 (Error): worker: no GPU"),
        (
            pod("Failed", reason="Evicted", message='Usage of EmptyDir volume "shm" exceeds the limit "4Gi".'),
            "a worker's pod failed: Evicted Usage of EmptyDir",
        ),
        (pod("Failed", reason="UnexpectedAdmissionError", message="no GPU"), "a worker's pod failed: UnexpectedAdm"),
        (pod("Failed"), "a worker failed: BackoffLimitExceeded: Job has reached"),
    ],
)
def test_a_worker_that_failed_by_itself_is(ended: Any, trouble: str) -> None:
    assert describe(job(BACKOFF), [ended]).trouble.startswith(trouble)


def test_a_job_that_failed_as_a_whole_says_why() -> None:
    deadline = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "active longer than 5 s"}
    assert describe(job(deadline), []).trouble == "a worker failed: DeadlineExceeded: active longer than 5 s"


def test_an_init_container_that_cannot_start_is_an_obstacle() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    status = {"name": "fetch", "image": "-", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
    found = describe(job(), [pod("Pending", initContainerStatuses=[status])])
    assert (found.state, found.trouble) == ("waiting", "ImagePullBackOff: no such image")


def test_of_several_containers_the_one_that_failed_is_told() -> None:
    failed = pod("Failed", exit_status=2)
    fine = pod("Failed", exit_status=0).status.container_statuses
    failed.status.container_statuses = [*fine, *failed.status.container_statuses]
    assert describe(job(BACKOFF), [failed]).trouble.startswith("a worker failed with exit status 2 ")


def test_a_job_that_a_quota_manager_holds_is_told_from_one_that_gets_no_pod() -> None:
    held = job()
    held.spec.suspend = True
    assert describe(held, []).state == "suspended"
    assert describe(job(), []).state == "waiting"


def test_a_job_that_is_being_deleted_is_not_taken_back_again() -> None:
    found = describe(job(deletionTimestamp=NOW), [pod("Running", leaving=True)])
    assert (found.state, found.leaving) == ("leaving", 1)


def test_pods_outlive_a_deleted_job() -> None:
    assert describe_orphans("demo-gpu-4", [pod("Succeeded")]) is None
    found = describe_orphans("demo-gpu-4", [pod("Running", leaving=True), pod("Running")])
    assert found == WorkerJob("demo-gpu-4", "", "", 4, "", "leaving", leaving=2)
