"""The chart against a real API server: install, upgrade with its migration hook, roll back, uninstall."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from charts import CHART, VALUES, read_values
from clusters import Namespace, PlayedNode, PlayedTest, Release
from helm_python.errors import HelmError
from stack import Stack, wait_until

pytestmark = pytest.mark.cluster


def deployment(namespace: Namespace) -> Any:
    return namespace.apps.read_namespaced_deployment("demo", namespace.name)


def secret(namespace: Namespace) -> Any:
    found: Any = namespace.core.read_namespaced_secret("demo-generated", namespace.name)
    return found.data


@contextmanager
def played_hook(namespace: Namespace, phase: str) -> Iterator[list[str]]:
    """Has the migration's pods end in this phase, as they would on a node; yields the arguments they were given."""
    done = threading.Event()
    given: list[str] = []

    def play() -> None:
        while not done.wait(0.2):
            pods: Any = namespace.core.list_namespaced_pod(
                namespace.name, label_selector="app.kubernetes.io/component=migrate"
            )
            for pod in pods.items:
                if pod.status.phase == "Pending":
                    given.extend(pod.spec.containers[0].args)
                    namespace.set_pod_status(pod, phase=phase)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield given
    finally:
        done.set()
        thread.join()


def test_install_upgrade_rollback_and_uninstall(release: Release) -> None:
    namespace, helm = release.namespace, release.helm
    helm.install(str(CHART), "demo", {}, namespace=namespace.name)
    first = secret(namespace)
    assert deployment(namespace).spec.replicas == 1

    with played_hook(namespace, "Succeeded") as arguments:
        helm.upgrade(str(CHART), "demo", {"controller": {"replicas": 2}}, namespace=namespace.name, timeout=60)
    assert arguments == ["migrate"]
    assert deployment(namespace).spec.replicas == 2
    assert secret(namespace) == first

    helm.rollback("demo", version=1)
    assert deployment(namespace).spec.replicas == 1
    assert secret(namespace) == first

    helm.uninstall("demo")
    kept: Any = namespace.core.list_namespaced_persistent_volume_claim(namespace.name)
    assert "demo-state" in [claim.metadata.name for claim in kept.items]
    gone: Any = namespace.apps.list_namespaced_stateful_set(namespace.name)
    assert not gone.items

    helm.install(str(CHART), "demo", {}, namespace=namespace.name)
    assert secret(namespace) == first  # the database's volume is still there, and knows this password


def test_a_failed_migration_leaves_the_old_controller_in_place(release: Release) -> None:
    namespace, helm = release.namespace, release.helm
    helm.install(str(CHART), "demo", {}, namespace=namespace.name)
    with played_hook(namespace, "Failed"), pytest.raises(HelmError, match="pre-upgrade"):
        helm.upgrade(str(CHART), "demo", {"controller": {"replicas": 2}}, namespace=namespace.name, timeout=90)
    assert deployment(namespace).spec.replicas == 1


@pytest.mark.parametrize("name", VALUES)
def test_the_server_takes_every_ready_value_file(release: Release, name: str) -> None:
    values = read_values(name) | {"migrations": {"enabled": False}}
    release.helm.install(str(CHART), "demo", values, namespace=release.namespace.name)
    found: Any = wait_until(lambda: release.namespace.core.list_namespaced_pod(release.namespace.name).items, "pods")
    assert found


def run_helm_test(release: Release, stack: Stack, folder: Path) -> str:
    """Plays the node until `helm test` has ended; what its pod said.

    Raises:
        HelmError: the test failed; its pod's words are in the message.
    """
    folder.mkdir()
    node, test = PlayedNode(release.namespace, stack), PlayedTest(release.namespace, stack, folder)
    failures: list[HelmError] = []

    def ask() -> None:
        try:
            release.helm.test("demo", timeout=200)
        except HelmError as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while thread.is_alive():
        node.look()
        test.look()
        thread.join(0.1)
    if failures:
        raise HelmError(f"{failures[0]}\n{test.log}")
    return test.log


def test_helm_test_runs_a_search_through_elastic_workers(release: Release, tmp_path: Path) -> None:
    release.install()
    with release.start() as stack:
        assert "a search through the workers: ok" in run_helm_test(release, stack, tmp_path / "test")


def test_helm_test_names_a_wrong_gpu_resource_as_readiness_does(release: Release, tmp_path: Path) -> None:
    release.install(test_seconds=5, gpuResource="example.com/gpu")
    with release.start() as stack:
        stack.submit(gpus=1)  # goes on waiting when the test's own search has been cancelled
        with pytest.raises(HelmError, match=r"workers: the search did not end .*Insufficient example\.com/gpu"):
            run_helm_test(release, stack, tmp_path / "test")
        checks = {check["name"]: check for check in stack.get("status")["readiness"]["checks"]}
        assert "Insufficient example.com/gpu" in checks["workers"]["detail"]
        assert stack.get("status")["readiness"]["ready"]
