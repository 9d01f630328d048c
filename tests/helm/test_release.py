"""The chart against a real API server: install, upgrade with its migration hook, roll back, uninstall."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import CHART, VALUES, read_values
from clusters import Namespace, PlayedNode, PlayedTest, Release
from helm_python import Config
from helm_python.errors import HelmError
from kubernetes.dynamic import DynamicClient
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
    namespace.play_ready("controller")

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
    another = {"database": {"existingSecret": "own", "included": {"enabled": False}}}
    helm.upgrade(str(CHART), "demo", another, namespace=namespace.name)
    assert secret(namespace) == first  # the same where another database has taken its place


def test_a_failed_migration_leaves_the_old_controller_in_place(release: Release) -> None:
    namespace, helm = release.namespace, release.helm
    helm.install(str(CHART), "demo", {}, namespace=namespace.name)
    namespace.play_ready("controller")
    with played_hook(namespace, "Failed"), pytest.raises(HelmError, match="pre-upgrade"):
        helm.upgrade(str(CHART), "demo", {"controller": {"replicas": 2}}, namespace=namespace.name, timeout=90)
    assert deployment(namespace).spec.replicas == 1


def test_a_failed_first_install_is_mended_by_an_upgrade(release: Release) -> None:
    """Nobody plays the migration's hook: with no controller that serves there is none to wait for."""
    namespace, helm = release.namespace, release.helm
    values = {"images": {"controller": {"repository": "misspelt"}}}
    with pytest.raises(HelmError):
        helm.install(str(CHART), "demo", values, namespace=namespace.name, wait="watcher", timeout=3)
    values = {"images": {"controller": {"repository": "paploss-controller"}}}
    helm.upgrade(str(CHART), "demo", values, namespace=namespace.name, timeout=60)
    assert "misspelt" not in deployment(namespace).spec.template.spec.containers[0].image


def test_fixed_volumes_serve_again_after_their_namespace_was_deleted(kubeconfig: Path) -> None:
    name = Namespace(kubeconfig)
    values = {
        "state": {"hostPath": "/srv/state", "accessMode": "ReadWriteOnce"},
        "data": {"coco": {"mountPath": "/data", "hostPath": "/srv/data"}},
    }
    try:
        for _ in range(3):
            with Config(kubeconfig_path=kubeconfig, namespace=name.name) as helm:
                helm.install(str(CHART), "demo", values, namespace=name.name)
                wait_until(lambda: {"demo-state", "demo-data-coco"} <= bound_claims(name), "bound claims")
                volumes = volumes_of(name)
                helm.upgrade(str(CHART), "demo", values, namespace=name.name)
                assert volumes_of(name) == volumes
            name.delete()
            wait_until(name.is_gone, "the namespace to be gone")
            name.make()
    finally:
        name.close()


def bound_claims(namespace: Namespace) -> set[str]:
    found: Any = namespace.core.list_namespaced_persistent_volume_claim(namespace.name)
    return {claim.metadata.name for claim in found.items if claim.status.phase == "Bound"}


def volumes_of(namespace: Namespace) -> dict[str, str]:
    found: Any = namespace.core.list_namespaced_persistent_volume_claim(namespace.name)
    return {claim.metadata.name: claim.spec.volume_name for claim in found.items}


MERGED = {"containers", "env", "ports", "topologySpreadConstraints", "volumeMounts", "volumes"}
"""Lists whose items are found by a name, so that `kubectl apply` leaves alone what the server has added to one."""


def find_differences(written: Any, kept: Any, path: str, whole: bool = False) -> Iterator[str]:
    """Where another `kubectl apply` of what was written would change what the server keeps."""
    if isinstance(written, dict) and isinstance(kept, dict):
        for key in written.keys() | (kept.keys() if whole else set()):
            atomic = whole or (isinstance(written.get(key), list) and (key not in MERGED or "NetworkPolicy" in path))
            yield from find_differences(written.get(key), kept.get(key), f"{path}.{key}", atomic)
    elif isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        for number, (ours, theirs) in enumerate(zip(written, kept, strict=True)):
            yield from find_differences(ours, theirs, f"{path}.{number}", whole)
    elif written != kept and not (whole and not written and not kept):
        yield f"{path}: {written!r} is kept as {kept!r}"


def live_objects(namespace: Namespace, manifest: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each object of a manifest, as written and as the server keeps it."""
    api = DynamicClient(namespace.api)
    for written in yaml.safe_load_all(manifest):
        if written:
            resource = api.resources.get(api_version=written["apiVersion"], kind=written["kind"])
            yield written, resource.get(name=written["metadata"]["name"], namespace=namespace.name).to_dict()


@pytest.mark.parametrize("mode", ["static", "elastic"])
def test_a_second_apply_changes_no_object(release: Release, mode: str) -> None:
    """Neither Helm's, nor one of `kubectl apply`, as of the kustomize base or by GitOps tools."""
    namespace, helm = release.namespace, release.helm
    values = {
        "workers": {"mode": mode, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]},
        "controller": {"replicas": 2, "trustedProxies": ["10.0.0.0/8"]},
        "networkPolicy": {"from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]},
        "ingress": {"enabled": True, "tlsSecret": "tls"},
    }
    helm.install(str(CHART), "demo", values, namespace=namespace.name)
    before = list(live_objects(namespace, helm.status("demo")["manifest"]))
    for written, kept in before:
        place = f"{written['kind']} {written['metadata']['name']}"
        assert not list(find_differences(written, kept, place)), place
    helm.upgrade(str(CHART), "demo", values, namespace=namespace.name)
    for (_, kept), (written, now) in zip(before, live_objects(namespace, helm.status("demo")["manifest"]), strict=True):
        for field in ("resourceVersion", "managedFields"):  # what controllers write into the status moves them
            kept["metadata"].pop(field, None), now["metadata"].pop(field, None)
        assert kept | {"status": {}} == now | {"status": {}}, written["metadata"]["name"]


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
