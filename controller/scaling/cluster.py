"""The Kubernetes API for elastic workers: list, create and delete Jobs. Needs rights on Jobs and Pods alone."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from paploss.controller.scaling.errors import ClusterError
from paploss.controller.scaling.plan import WorkerJob
from paploss.controller.scaling.pods import ORDINAL_LABEL, POOL_LABEL, TEMPLATE_LABEL, describe, describe_orphans
from paploss.controller.scaling.pools import Pool, Pools
from paploss.controller.scaling.waiting import TIMEOUT_SECONDS, explain, waits_long

_PAGE = 200


class Cluster:
    """The Jobs of one release. Not safe for use from several threads.

    Every method raises ClusterError where the cluster cannot be reached or refuses.
    """

    def __init__(self, pools: Pools) -> None:
        """Use KUBECONFIG, or the service account of the pod that this runs in."""
        connect()
        self._pools = pools
        self._jobs = client.BatchV1Api()
        self._core = client.CoreV1Api()

    def list_jobs(self) -> dict[str, list[WorkerJob]]:
        """All Jobs of the release by pool, ended ones included, and as Jobs the pods whose Job is gone."""
        with translated("list the workers' Jobs"):
            jobs = {job.metadata.name: job for job in _list_all(self._jobs.list_namespaced_job, self._pools)}
            # Pods after Jobs: a Job never lacks the pod it had.
            pods: dict[str, list[Any]] = {}
            for pod in _list_all(self._core.list_namespaced_pod, self._pools):
                pods.setdefault(pod.metadata.labels.get("job-name", ""), []).append(pod)
        found: dict[str, list[WorkerJob]] = {pool.name: [] for pool in self._pools.pools}
        for name in jobs.keys() | pods.keys():
            own = pods.get(name, [])
            labels = (jobs[name] if name in jobs else own[0]).metadata.labels or {}
            if POOL_LABEL in labels and ORDINAL_LABEL in labels:
                described = describe(jobs[name], own) if name in jobs else describe_orphans(name, own)
                found.setdefault(labels[POOL_LABEL], []).extend(filter(None, [described]))
        self._explain(found, [pod for own in pods.values() for pod in own])
        return {pool: sorted(described, key=lambda job: job.ordinal) for pool, described in found.items()}

    def _explain(self, jobs: dict[str, list[WorkerJob]], pods: Sequence[Any]) -> None:
        """Add the reason from its events to the first Job of each pool that has waited for long."""
        late = {pod.metadata.name: pod for pod in pods if waits_long(pod)}
        for of_pool in jobs.values():
            place = next((number for number, job in enumerate(of_pool) if job.pod in late), None)
            if place is not None:
                with translated("list the events of a worker that waits"):
                    trouble = explain(self._core, self._pools.namespace, late[of_pool[place].pod])
                of_pool[place] = replace(of_pool[place], trouble=trouble)

    def create(self, pool: Pool, ordinal: int) -> None:
        """Create the Job of this ordinal; nothing happens where an earlier leader has created it.

        Raises:
            ClusterError: also where another release has a Job of this name.
        """
        with translated("read the ConfigMap that owns the Jobs"):
            owner: Any = self._core.read_namespaced_config_map(
                self._pools.owner, self._pools.namespace, _request_timeout=TIMEOUT_SECONDS
            )
        manifest: Any = self._manifest(pool, ordinal, owner.metadata.uid)
        with translated(f"create a worker of pool {pool.name}"):
            try:
                self._jobs.create_namespaced_job(self._pools.namespace, manifest, _request_timeout=TIMEOUT_SECONDS)
            except ApiException as error:
                if error.status != 409:
                    raise
                self._check_owned(manifest["metadata"]["name"])

    def _check_owned(self, name: str) -> None:
        found: Any = self._jobs.list_namespaced_job(
            self._pools.namespace, field_selector=f"metadata.name={name}", _request_timeout=TIMEOUT_SECONDS
        )
        for job in found.items:
            if not self._pools.labels.items() <= (job.metadata.labels or {}).items():
                raise ClusterError(f"the Job {name} belongs to another release: give this one's pool another name")

    def withdraw(self, job: WorkerJob) -> None:
        """Delete a Job whose pod has not started; nothing happens where it has changed since it was listed."""
        # The pod goes first, and only as it was listed: bound to a node meanwhile, it has another version.
        with translated("delete a worker that waits"), unless_changed():
            if job.pod:
                as_listed = client.V1Preconditions(resource_version=job.pod_version)
                self._core.delete_namespaced_pod(
                    job.pod,
                    self._pools.namespace,
                    body=client.V1DeleteOptions(preconditions=as_listed),
                    _request_timeout=TIMEOUT_SECONDS,
                )
            self._delete(job, None if job.pod else job.resource_version)

    def clear(self, job: WorkerJob) -> None:
        """Delete an ended Job with its pods; nothing happens where it has changed since it was listed."""
        with translated("delete an ended worker's Job"), unless_changed():
            self._delete(job, job.resource_version)

    def _delete(self, job: WorkerJob, version: str | None) -> None:
        as_listed = client.V1Preconditions(uid=job.uid, resource_version=version)
        self._jobs.delete_namespaced_job(
            job.name,
            self._pools.namespace,
            body=client.V1DeleteOptions(preconditions=as_listed, propagation_policy="Background"),
            _request_timeout=TIMEOUT_SECONDS,
        )

    def _manifest(self, pool: Pool, ordinal: int, owner_uid: str) -> dict[str, Any]:
        manifest = deepcopy(pool.job)
        metadata = manifest.setdefault("metadata", {})
        metadata["name"] = f"{self._pools.prefix}-{pool.name}-{ordinal}"
        ours = self._pools.labels | {
            POOL_LABEL: pool.name,
            ORDINAL_LABEL: str(ordinal),
            TEMPLATE_LABEL: pool.template,
        }
        for labelled in (metadata, manifest["spec"]["template"].setdefault("metadata", {})):
            labelled["labels"] = labelled.get("labels", {}) | ours
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": self._pools.owner, "uid": owner_uid}
        ]
        return manifest


def connect() -> None:
    """Have clients of the cluster's API use KUBECONFIG or, without one, the service account of this pod.

    Raises:
        ClusterError: there is neither.
    """
    try:  # not load_config, which prints to standard output of every pod that there is no KUBECONFIG
        if os.environ.get("KUBECONFIG"):
            config.load_kube_config()  # type: ignore[no-untyped-call]
        else:
            config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise ClusterError(f"no access to a cluster, by KUBECONFIG or as a pod of one: {error}") from None


def _list_all(method: Callable[..., Any], pools: Pools) -> Sequence[Any]:
    """Every object of the release, page by page; from the start again where the list has expired (410)."""
    selector = ",".join(f"{name}={value}" for name, value in sorted(pools.labels.items()))
    for _ in range(3):
        items: list[Any] = []
        position = None
        try:
            while position != "":
                page = method(
                    pools.namespace,
                    label_selector=selector,
                    limit=_PAGE,
                    _continue=position,
                    _request_timeout=TIMEOUT_SECONDS,
                )
                items += page.items
                position = page.metadata._continue or ""
        except ApiException as error:
            if error.status != 410:
                raise
        else:
            return items
    raise ClusterError("the cluster's lists change faster than they can be read")


@contextmanager
def unless_changed() -> Iterator[None]:
    """Nothing happens where the object is gone, or has changed since it was listed."""
    try:
        yield
    except ApiException as error:
        if error.status not in (404, 409, 410):
            raise


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raises ClusterError for errors of the cluster's API; `what`: cannot be done."""
    try:
        yield
    except ApiException as error:
        raise ClusterError(f"cannot {what}: {error.status} {_message(error)}") from error
    except urllib3.exceptions.HTTPError as error:
        raise ClusterError(f"cannot {what}: the cluster's API does not answer ({type(error).__name__})") from error


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
