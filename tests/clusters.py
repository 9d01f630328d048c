"""A Kubernetes API for tests: the one of KUBECONFIG, or a control plane that is started for the session by the program
that PAPLOSS_TEST_CLUSTER names, as `PROGRAM start FOLDER` (which leaves FOLDER/kubeconfig) and `PROGRAM stop FOLDER`.

There must be no kubelet: `PlayedNode` does its part for the workers' pods, and runs each worker for real.
"""

import fcntl
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from charts import CHART
from helm_python import Config
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from stack import Stack, wait_until

_SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}


class NoClusterError(Exception):
    """There is no cluster to be had; the text says what is missing."""


@contextmanager
def find_cluster(folder: Path) -> Iterator[Path]:
    """The kubeconfig of a cluster; one that was started is stopped at the end."""
    if given := os.environ.get("KUBECONFIG"):
        if kubelet := find_kubelet(Path(given)):
            raise NoClusterError(
                f"the cluster of KUBECONFIG has a kubelet ({kubelet}): these tests play a node's part, which would be "
                "done twice there; `helm test` tries a release on a real cluster (docs/cluster.md)"
            )
        yield Path(given)
        return
    program = os.environ.get("PAPLOSS_TEST_CLUSTER")
    if not program:
        raise NoClusterError(
            "set KUBECONFIG to a cluster whose namespaces tests may make and delete, "
            "or PAPLOSS_TEST_CLUSTER to a program that starts one"
        )
    shared = Path(tempfile.gettempdir())
    with (shared / "paploss-test-cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # or two that start together might choose the same ports
        environment = os.environ | {
            "KUBE_BIN_CACHE": str(shared / "kube-bin-1.20.2"),
            "KUBE_PORT_BASE": str(_free_ports()),
        }
        subprocess.run([program, "start", folder], env=environment, check=True, capture_output=True, timeout=240)
    try:
        yield folder / "kubeconfig"
    finally:
        subprocess.run([program, "stop", folder], env=environment, check=True, capture_output=True, timeout=60)


def find_kubelet(kubeconfig: Path) -> str:
    """Name and version of a node that a kubelet keeps; empty where there is none. Played nodes tell no version."""
    api = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
    nodes: Any = client.CoreV1Api(api).list_node()
    for node in nodes.items:
        info = node.status.node_info
        if info is not None and info.kubelet_version:
            return f"{node.metadata.name}, {info.kubelet_version}"
    return ""


def _free_ports() -> int:
    """A base from which all ports of a control plane are free, so that several may run on one machine."""
    for base in range(23790, 33790, 100):
        with ExitStack() as held:
            try:
                for offset in (0, 10, 2653, 2654, 2655):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", base + offset))
            except OSError:
                continue
            return base
    raise NoClusterError("no free ports for a control plane")


class Namespace:
    """A namespace of its own, with an administrator's access to it."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.connect()
        self.name = f"paploss-test-{secrets.token_hex(4)}"
        self.make()

    def make(self) -> None:
        """Create it, also anew after `delete`."""
        self.core.create_namespace({"metadata": {"name": self.name}})  # type: ignore[arg-type]

    def connect(self) -> None:
        """Make the clients, with whatever rights the kubeconfig gives."""
        self.api = api = config.new_client_from_config(str(self.kubeconfig))  # type: ignore[no-untyped-call]
        self.core = client.CoreV1Api(api)
        self.batch = client.BatchV1Api(api)
        self.apps = client.AppsV1Api(api)
        self.scheduling = client.SchedulingV1Api(api)
        self.rights = client.RbacAuthorizationV1Api(api)

    def delete(self) -> None:
        """Delete it; its pods go without waiting for a node to confirm."""
        self.core.delete_namespace(self.name)
        every: Any = self.core.list_namespaced_pod(self.name)
        for pod in every.items:
            self.remove(pod)

    def is_gone(self) -> bool:
        """Whether nothing of it is left."""
        return self.name not in [found.metadata.name for found in self.core.list_namespace().items]

    def close(self) -> None:
        """Delete it with the volumes that were made for it."""
        self.delete()
        volumes: Any = self.core.list_persistent_volume()
        for volume in volumes.items:
            if volume.spec.claim_ref and volume.spec.claim_ref.namespace == self.name:
                self.core.delete_persistent_volume(volume.metadata.name)

    def pods(self) -> Sequence[Any]:
        """The workers' pods."""
        found: Any = self.core.list_namespaced_pod(self.name, label_selector="app.kubernetes.io/component=worker")
        return list(found.items)

    def jobs(self) -> Sequence[Any]:
        """The workers' Jobs."""
        found: Any = self.batch.list_namespaced_job(self.name, label_selector="app.kubernetes.io/component=worker")
        return list(found.items)

    def running_jobs(self) -> Sequence[Any]:
        """Those that have not ended."""
        return [job for job in self.jobs() if not job.status.conditions]

    def play_ready(self, component: str) -> None:
        """Report the pods of a Deployment as ready, and wait until it counts one."""
        found: Any = wait_until(
            lambda: (
                self.core.list_namespaced_pod(
                    self.name, label_selector=f"app.kubernetes.io/component={component}"
                ).items
            ),
            f"a pod of {component}",
        )
        for pod in found:
            self.set_pod_status(pod, phase="Running", conditions=[ready()])

        def counted() -> bool:
            deployments: Any = self.apps.list_namespaced_deployment(
                self.name, label_selector=f"app.kubernetes.io/component={component}"
            )
            return all(found.status.available_replicas for found in deployments.items)

        wait_until(counted, f"{component} to be available")

    def remove(self, pod: Any) -> None:
        """Delete a pod at once, as a node does in the end."""
        try:
            self.core.delete_namespaced_pod(pod.metadata.name, self.name, grace_period_seconds=0)
        except ApiException as error:
            if error.status != 404:
                raise

    def write_access(self, account: str, file: Path, server: str | None = None) -> Path:
        """A kubeconfig with exactly the rights of a service account; `server` stands in for the cluster's address."""
        request: Any = {"spec": {"audiences": ["https://kubernetes.default.svc"], "expirationSeconds": 3600}}
        token: Any = self.core.create_namespaced_service_account_token(account, self.name, request)
        given = yaml.safe_load(self.kubeconfig.read_text())
        cluster = given["clusters"][0]
        if server is not None:
            cluster["cluster"] = {"server": server}
        given["users"] = [{"name": account, "user": {"token": token.status.token}}]
        context = {"cluster": cluster["name"], "user": account, "namespace": self.name}
        given |= {"contexts": [{"name": "test", "context": context}], "current-context": "test"}
        file.write_text(yaml.safe_dump(given))
        return file

    @contextmanager
    def priority_class(self, value: int) -> Iterator[str]:
        """The name of a PriorityClass, which belongs to the whole cluster."""
        body: Any = {"metadata": {"name": self.name}, "value": value}
        self.scheduling.create_priority_class(body)
        try:
            yield self.name
        finally:
            self.scheduling.delete_priority_class(self.name)

    def set_pod_status(self, pod: Any, **status: Any) -> None:
        """What a kubelet would report."""
        self.core.patch_namespaced_pod_status(pod.metadata.name, self.name, {"status": status})


class PlayedNode:
    """Does a kubelet's work for the workers' pods of a namespace: each scheduled one becomes a worker process.

    As under a kubelet, a pod that is deleted runs on until its worker has ended, its end is reported, and only then it
    goes. What the Job controller makes of that is the server's own (1.20: it starts another pod at once) or, with
    `counts_deleted_as_failed`, what Kubernetes 1.25 to 1.28 make of it: the Job fails at once, and starts none.
    """

    def __init__(
        self,
        namespace: Namespace,
        stack: Stack,
        *,
        counts_deleted_as_failed: bool = False,
        earlier: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`earlier`: folders of earlier versions' code, by the tag of their image."""
        self._namespace = namespace
        self._stack = stack
        self._earlier = earlier
        self._fails_jobs = counts_deleted_as_failed
        self._told_to_end: set[str] = set()
        self.most_running = 0

    def look(self) -> None:
        """Start, end and report whatever there is to; call it often."""
        for pod in self._namespace.pods():
            name = pod.metadata.name
            process = self._stack.workers.get(name)
            if process is not None and process.poll() is not None:
                phase = "Failed" if process.returncode else "Succeeded"
                self._namespace.set_pod_status(pod, phase=phase, containerStatuses=[_ended(process.returncode)])
                del self._stack.workers[name]
            elif pod.metadata.deletion_timestamp and process is not None:
                if name not in self._told_to_end:  # once, as a kubelet: the second time a worker does not hand back
                    self._told_to_end.add(name)
                    process.terminate()
            elif pod.metadata.deletion_timestamp:
                self._namespace.remove(pod)
            elif pod.status.phase == "Pending" and pod.spec.node_name and process is None:
                self._start(pod)
                self._namespace.set_pod_status(pod, phase="Running", conditions=[ready()])
        self.most_running = max(self.most_running, len(self._stack.workers))

    def delete(self, pod: Any) -> None:
        """`kubectl delete pod`."""
        self._fail_job(pod)
        self._namespace.core.delete_namespaced_pod(pod.metadata.name, self._namespace.name)

    def evict(self, pod: Any) -> None:
        """What `kubectl drain` asks for."""
        self._fail_job(pod)
        body: Any = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": pod.metadata.name}}
        self._namespace.core.create_namespaced_pod_eviction(pod.metadata.name, self._namespace.name, body)

    def interrupt(self, pod: Any) -> None:
        """A spot node that goes: its kubelet stops the worker and reports the pod as failed, and no more follows."""
        process = self._stack.workers.pop(pod.metadata.name)
        process.terminate()
        process.wait()
        self._namespace.set_pod_status(
            pod,
            phase="Failed",
            reason="Terminated",
            message="Pod was terminated in response to imminent node shutdown.",
        )

    def lose(self, pod: Any) -> None:
        """A node that is gone without a word: its pods are deleted when the node is, their workers were killed."""
        self._stack.kill_worker(pod.metadata.name)
        self._fail_job(pod)
        self._namespace.remove(pod)

    def _start(self, pod: Any) -> None:
        settings = _literal_settings(pod) | {"PAPLOSS_CHECK_GPUS": "false"}
        if folder := self._earlier.get(image_tag(pod)):
            self._stack.start_other_worker(pod.metadata.name, ["worker"], PYTHONPATH=folder, **settings)
        else:
            self._stack.start_worker(pod.metadata.name, **settings)

    def _fail_job(self, pod: Any) -> None:
        if not self._fails_jobs:
            return
        # Before the pod goes, or the server's own Job controller would start another one.
        condition = {
            "type": "Failed",
            "status": "True",
            "reason": "BackoffLimitExceeded",
            "message": "Job has reached the specified backoff limit",
            "lastTransitionTime": datetime.now(UTC).isoformat(),
        }
        job = pod.metadata.labels["job-name"]
        status: Any = {"status": {"conditions": [condition]}}
        self._namespace.batch.patch_namespaced_job_status(job, self._namespace.name, status)
        wait_until(lambda: self._namespace.batch.read_namespaced_job(job, self._namespace.name).status.conditions, job)


class PlayedTest:
    """Does a kubelet's work for the pod of `helm test`: runs its program with the files that it would have mounted."""

    def __init__(self, namespace: Namespace, stack: Stack, folder: Path) -> None:
        self._namespace = namespace
        self._stack = stack
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.log = ""

    def look(self) -> None:
        """Start, end and report whatever there is to; call it often."""
        found: Any = self._namespace.core.list_namespaced_pod(
            self._namespace.name, label_selector="app.kubernetes.io/component=test"
        )
        for pod in found.items:
            if pod.status.phase == "Pending" and pod.spec.node_name and self._process is None:
                self._process = self._start(pod)
            elif pod.status.phase == "Pending" and self._process is not None and self._process.poll() is not None:
                self.log = "".join(self._process.communicate())
                status = self._process.returncode
                phase = "Failed" if status else "Succeeded"
                self._namespace.set_pod_status(pod, phase=phase, containerStatuses=[_ended(status)])

    def _start(self, pod: Any) -> subprocess.Popen[str]:
        container = pod.spec.containers[0]
        for volume in pod.spec.volumes:
            if volume.config_map:
                described: Any = self._namespace.core.read_namespaced_config_map(
                    volume.config_map.name, self._namespace.name
                )
                for name, content in described.data.items():
                    (self._folder / name).write_text(content)
        (mounted,) = (mount.mount_path for mount in container.volume_mounts if mount.name == "spec")
        arguments = [argument.replace(mounted, str(self._folder)) for argument in container.args]
        arguments = [a if not a.startswith("--url=") else f"--url={self._stack.url}" for a in arguments]
        account = self._namespace.write_access(pod.spec.service_account_name, self._folder / "kubeconfig")
        given = {"PAPLOSS_ADMIN_KEY": self._stack.admin_key, "KUBECONFIG": str(account), "PYTHONWARNINGS": "ignore"}
        return subprocess.Popen(
            [sys.executable, "-m", "paploss.cli", *arguments],
            env=self._stack.environment | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def image_tag(pod: Any) -> str:
    """The tag of a pod's image: the version of what runs in it."""
    return str(pod.spec.containers[0].image).rpartition(":")[2]


def ready() -> dict[str, str]:
    """The condition of a pod that a kubelet's probes have found ready."""
    return {"type": "Ready", "status": "True", "lastTransitionTime": datetime.now(UTC).isoformat()}


def _literal_settings(pod: Any) -> dict[str, str]:
    """The pod's own settings; addresses, folders and keys are those of the stack."""
    return {
        entry.name: entry.value
        for entry in pod.spec.containers[0].env
        if entry.value and not entry.name.endswith(("_URL", "_DIR"))
    }


def _ended(status: int) -> dict[str, Any]:
    state = {"terminated": {"exitCode": status, "reason": "Error" if status else "Completed"}}
    return {"name": "worker", "image": "-", "imageID": "", "ready": False, "restartCount": 0, "state": state}


class Release:
    """The chart, installed, with a controller beside the cluster that has the rights of the release's own."""

    def __init__(self, namespace: Namespace, folder: Path, redis_url: str) -> None:
        self.namespace = namespace
        self._folder = folder
        self._redis_url = redis_url
        self.helm = Config(kubeconfig_path=namespace.kubeconfig, namespace=namespace.name)

    def install(self, test_seconds: int = 100, search_resources: bool = False, **workers: Any) -> None:
        """Install or upgrade with elastic workers of one pool, which takes trials of one GPU."""
        pool = {"gpus": 1, "maximum": 3} | workers.pop("pool", {})
        # GPU, yet little else, so that the node's two GPUs are what limits.
        values = {
            "state": {"ephemeral": True},
            "migrations": {"enabled": False},
            "searchResources": {"enabled": search_resources},
            "test": {"timeoutSeconds": test_seconds, "search": {"profile": "synthetic"}},
            "workers": {"idleSeconds": 10, "shmSize": "64Mi", "pools": {"gpu": pool}, "resources": _SMALL} | workers,
        }
        do = self.helm.upgrade if self.installed else self.helm.install
        do(str(CHART), "demo", values, namespace=self.namespace.name)

    @property
    def installed(self) -> bool:
        return bool(self.helm.list())

    def close(self) -> None:
        """Uninstall whatever is there."""
        self.helm.uninstall("demo", ignore_not_found=True)
        self.helm.close()

    def start(self, server: str | None = None) -> Stack:
        """A controller as the chart would start it; to be left by the caller."""
        account = self.namespace.write_access("demo-controller", self._folder / "kubeconfig", server)
        described: Any = self.namespace.core.read_namespaced_config_map("demo-pools", self.namespace.name)
        pools_file = self._folder / "pools.yaml"
        pools_file.write_text(described.data["pools.yaml"])
        deployment: Any = self.namespace.apps.read_namespaced_deployment("demo", self.namespace.name)
        given = {entry.name: entry.value for entry in deployment.spec.template.spec.containers[0].env}
        stack = Stack(
            self._folder / "stack",
            self._redis_url,
            KUBECONFIG=str(account),
            PAPLOSS_WORKER_POOLS_FILE=str(pools_file),
            PAPLOSS_SEARCH_RESOURCES_NAMESPACE=given.get("PAPLOSS_SEARCH_RESOURCES_NAMESPACE", ""),
            PAPLOSS_SCALING_SECONDS="0.2",
        )
        stack.start_controller()
        return stack
