"""Elastic workers over a real Kubernetes API, with the rights that the chart gives and no others."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import Namespace, PlayedNode, Release
from gate import Gate
from kubernetes.client.exceptions import ApiException
from stack import Stack, wait_until

pytestmark = pytest.mark.cluster

SPEC = {
    "kind": "search",
    "profile": "synthetic",
    "gpus": 1,
    "rounds": 2,
    "trials_per_round": 6,
    "confirm": {"candidates": 1, "seeds": 1},
}


def start_search(stack: Stack, **changes: Any) -> str:
    return str(stack.http.post("/experiments", json=SPEC | changes).raise_for_status().json()["id"])


def messages(stack: Stack, experiment_id: str) -> list[str]:
    """What the search's page shows of its workers."""
    page = stack.http.get(f"{stack.url}/experiments/{experiment_id}").text
    return [line for line in page.split("<li>") if "workers of pool" in line]


def test_a_search_finishes_through_workers_that_come_and_go(release: Release) -> None:
    namespace = release.namespace
    release.install()
    with release.start() as stack:
        node = PlayedNode(namespace, stack)
        experiment_id = start_search(stack)
        most = 0

        def ended() -> bool:
            nonlocal most
            node.look()
            most = max(most, len(namespace.running_jobs()))
            return bool(stack.http.get(f"/experiments/{experiment_id}").json()["state"] == "succeeded")

        wait_until(ended, "the search to succeed")
        assert 1 <= most <= 3
        assert node.most_running == 2  # the node has no more GPUs
        assert any("Insufficient nvidia.com/gpu" in line for line in messages(stack, experiment_id))

        def gone() -> bool:
            node.look()
            return not namespace.running_jobs()

        wait_until(gone, "idle workers to end by themselves")
        reasons = {condition.type for job in namespace.jobs() for condition in job.status.conditions}
        assert "Failed" not in reasons


def test_nothing_is_left_after_uninstalling(release: Release) -> None:
    namespace = release.namespace
    release.install()
    with release.start() as stack:
        start_search(stack)
        wait_until(namespace.pods, "a worker's pod")
    release.helm.uninstall("demo")
    wait_until(lambda: not namespace.jobs(), "the garbage collector to delete the Jobs")


def test_a_wrong_gpu_resource_is_told_and_not_tried_endlessly(release: Release) -> None:
    namespace = release.namespace
    release.install(gpuResource="example.com/gpu")
    with release.start() as stack:
        experiment_id = start_search(stack)
        wait_until(lambda: messages(stack, experiment_id), "the reason on the search's page")
        assert "Insufficient example.com/gpu" in messages(stack, experiment_id)[0]
        assert "Insufficient example.com/gpu" in stack.http.get(f"{stack.url}/workers").text
        assert len(namespace.jobs()) == 3
        later_id = start_search(stack)
        wait_until(lambda: messages(stack, later_id), "the reason on the page of a search that came later")
        for waiting in (experiment_id, later_id):
            stack.http.post(f"/experiments/{waiting}/cancel").raise_for_status()
        wait_until(lambda: not namespace.running_jobs(), "workers that nobody waits for to be taken back")


def test_an_image_that_cannot_be_pulled_is_told(release: Release) -> None:
    namespace = release.namespace
    release.install(pool={"maximum": 1})
    with release.start() as stack:
        experiment_id = start_search(stack)
        (pod,) = wait_until(lambda: [pod for pod in namespace.pods() if pod.spec.node_name], "a scheduled pod")
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        status = {"name": "worker", "image": "-", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
        namespace.set_pod_status(pod, containerStatuses=[status])
        wait_until(lambda: messages(stack, experiment_id), "the reason on the search's page")
        assert "ImagePullBackOff: no such image" in messages(stack, experiment_id)[0]


def test_a_worker_that_fails_is_told_with_its_last_words_and_tried_again_later(release: Release) -> None:
    namespace = release.namespace
    release.install(pool={"maximum": 1})
    with release.start() as stack:
        experiment_id = start_search(stack)
        (pod,) = wait_until(namespace.pods, "a worker's pod")
        ended = {"terminated": {"exitCode": 2, "reason": "Error", "message": "worker: key: expected one"}}
        status = {"name": "worker", "image": "-", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
        namespace.set_pod_status(pod, phase="Failed", containerStatuses=[status])
        wait_until(lambda: messages(stack, experiment_id), "the reason on the search's page")
        assert "exit status 2 (Error): worker: key: expected one" in messages(stack, experiment_id)[0]
        assert len(namespace.jobs()) == 1
        wait_until(lambda: len(namespace.jobs()) == 2, "another try")


def test_lost_rights_are_told_and_mended_without_a_restart(release: Release) -> None:
    namespace = release.namespace
    release.install()
    rights: Any = namespace.rights.read_namespaced_role_binding("demo-controller", namespace.name)
    namespace.rights.delete_namespaced_role_binding("demo-controller", namespace.name)
    with release.start() as stack:
        experiment_id = start_search(stack)
        wait_until(lambda: messages(stack, experiment_id), "the refusal on the search's page")
        assert "403" in messages(stack, experiment_id)[0]
        rights.metadata.resource_version = rights.metadata.uid = None
        namespace.rights.create_namespaced_role_binding(namespace.name, rights)
        wait_until(namespace.jobs, "workers, now that it may")


def test_a_job_of_another_release_that_has_a_workers_name_is_told(release: Release) -> None:
    namespace = release.namespace
    release.install()
    container = {"name": "worker", "image": "example.com/other"}
    foreign = {
        "metadata": {"name": "demo-gpu-0"},
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
    }
    namespace.batch.create_namespaced_job(namespace.name, foreign)
    with release.start() as stack:
        experiment_id = start_search(stack)
        wait_until(lambda: messages(stack, experiment_id), "the reason on the search's page")
        assert "the Job demo-gpu-0 belongs to another release" in messages(stack, experiment_id)[0]


@pytest.mark.parametrize("status", [409, 410, 500])
def test_a_refused_request_is_made_again(release: Release, status: int) -> None:
    namespace = release.namespace
    release.install()
    with Gate(server_of(namespace.kubeconfig)) as gate:
        gate.refusals = [("GET", "/jobs", status), ("GET", "/pods", status), ("POST", "/jobs", status)]
        with release.start(gate.url) as stack:
            start_search(stack)
            wait_until(lambda: len(namespace.jobs()) == 3, "all workers")
            assert not gate.refusals


def test_an_api_that_goes_away_and_comes_back_costs_nothing(release: Release) -> None:
    namespace = release.namespace
    release.install()
    with Gate(server_of(namespace.kubeconfig)) as gate, release.start(gate.url) as stack:
        gate.closed = True
        experiment_id = start_search(stack)
        wait_until(lambda: messages(stack, experiment_id), "the failure on the search's page")
        assert "does not answer" in messages(stack, experiment_id)[0]
        gate.closed = False
        wait_until(lambda: len(namespace.jobs()) == 3, "all workers")


def test_the_account_can_do_nothing_else(release: Release, tmp_path: Path) -> None:
    namespace = release.namespace
    release.install()
    limited = Namespace.__new__(Namespace)
    limited.kubeconfig, limited.name = namespace.write_access("demo-controller", tmp_path / "limited"), namespace.name
    limited.connect()
    for refused in (
        lambda: limited.core.list_namespaced_secret(namespace.name),
        lambda: limited.core.list_namespaced_config_map(namespace.name),
        lambda: limited.batch.list_namespaced_job("kube-system"),
        lambda: limited.apps.list_namespaced_deployment(namespace.name),
    ):
        with pytest.raises(ApiException, match="403"):
            refused()


def server_of(kubeconfig: Path) -> str:
    """Address of the cluster's API."""
    return str(yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"])
