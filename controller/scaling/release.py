"""What the pod of `helm test` does with the cluster: reports pods without a node, and is deleted with its release."""

from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from paploss.controller.scaling.cluster import connect, translated
from paploss.controller.scaling.waiting import TIMEOUT_SECONDS, explain, waits_long


class Release:
    """A release of the chart, seen from a pod in its namespace.

    Raises:
        ClusterError: there is no access to a cluster.
    """

    def __init__(self, namespace: str, name: str) -> None:
        connect()
        self._namespace = namespace
        self._name = name
        self._core = client.CoreV1Api()

    def find_waiting(self) -> list[str]:
        """A line for each pod without a node for over a minute, with the reason; a refused request is a line too."""
        try:
            pods: Any = self._core.list_namespaced_pod(
                self._namespace,
                label_selector=f"app.kubernetes.io/instance={self._name}",
                _request_timeout=TIMEOUT_SECONDS,
            )
            late = {pod.metadata.name: pod for pod in pods.items if waits_long(pod)}
            return [
                f"pod {name} has had no node for over a minute: {explain(self._core, self._namespace, pod)}"
                for name, pod in late.items()
            ]
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            return [f"pods: cannot be listed ({getattr(error, 'status', None) or type(error).__name__})"]

    def adopt(self, pod: str) -> None:
        """Have a pod deleted with the ConfigMap of its name, which belongs to the release: Helm keeps pods of tests.

        Raises:
            ClusterError: the cluster refuses.
        """
        with translated(f"have pod {pod} deleted with its release"):
            owner: Any = self._core.read_namespaced_config_map(pod, self._namespace, _request_timeout=TIMEOUT_SECONDS)
            reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": pod, "uid": owner.metadata.uid}
            change = {"metadata": {"ownerReferences": [reference]}}
            self._core.patch_namespaced_pod(pod, self._namespace, change, _request_timeout=TIMEOUT_SECONDS)
