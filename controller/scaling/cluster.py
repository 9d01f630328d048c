"""The cluster's side of elastic workers: list, create and take back Jobs. Needs rights on Jobs and Pods, no more."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from paploss.controller.scaling.errors import ClusterError
from paploss.controller.scaling.plan import JobState, WorkerJob
from paploss.controller.scaling.pools import Pool, Pools

POOL_LABEL = "paploss/pool"
ORDINAL_LABEL = "paploss/ordinal"
TEMPLATE_LABEL = "paploss/template"

TIMEOUT_SECONDS = (5, 30)
"""To connect, and for an answer."""
_PAGE = 200
_IMPEDING = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Why a container cannot start, as a kubelet says it."""


class Cluster:
    """The Jobs of one release. Not safe for use from several threads.

    Every method raises ClusterError where the cluster cannot be reached or refuses.
    """

    def __init__(self, pools: Pools) -> None:
        """Use KUBECONFIG, or the service account of the pod that this runs in."""
        try:
            config.load_config()  # type: ignore[no-untyped-call]
        except config.ConfigException as error:
            raise ClusterError(f"no access to a cluster: {error}") from None
        self._pools = pools
        self._jobs = client.BatchV1Api()
        self._core = client.CoreV1Api()

    def list_jobs(self) -> dict[str, list[WorkerJob]]:
        """All Jobs of the release by pool, ended ones included."""
        with _translated("list the workers' Jobs"):
            jobs = _list_all(self._jobs.list_namespaced_job, self._pools)
            # Pods after Jobs: one whose Job was made in between is left out, a Job never lacks the pod it had.
            pods = {
                pod.metadata.labels.get("job-name", ""): pod
                for pod in _list_all(self._core.list_namespaced_pod, self._pools)
            }
        found: dict[str, list[WorkerJob]] = {pool.name: [] for pool in self._pools.pools}
        for job in jobs:
            labels = job.metadata.labels
            if POOL_LABEL in labels and ORDINAL_LABEL in labels:
                found.setdefault(labels[POOL_LABEL], []).append(_describe(job, pods.get(job.metadata.name)))
        return found

    def create(self, pool: Pool, ordinal: int) -> None:
        """Make the Job of this ordinal; if it is there already, made by a leader of before, that is as good."""
        with _translated("read the ConfigMap that owns the Jobs"):
            owner: Any = self._core.read_namespaced_config_map(
                self._pools.owner, self._pools.namespace, _request_timeout=TIMEOUT_SECONDS
            )
        manifest: Any = self._manifest(pool, ordinal, owner.metadata.uid)
        with _translated(f"create a worker of pool {pool.name}", unless=(409,)):
            self._jobs.create_namespaced_job(self._pools.namespace, manifest, _request_timeout=TIMEOUT_SECONDS)

    def withdraw(self, job: WorkerJob) -> None:
        """Take a Job back whose pod has not begun; nothing happens where it has moved on since it was listed."""
        # The pod goes first, and only as it was listed: bound to a node meanwhile, it has another version.
        with _translated("take back a worker that waits"):
            try:
                if job.pod:
                    as_listed = client.V1Preconditions(resource_version=job.pod_version)
                    self._core.delete_namespaced_pod(
                        job.pod,
                        self._pools.namespace,
                        body=client.V1DeleteOptions(preconditions=as_listed),
                        _request_timeout=TIMEOUT_SECONDS,
                    )
                as_listed = client.V1Preconditions(
                    uid=job.uid, resource_version=None if job.pod else job.resource_version
                )
                self._jobs.delete_namespaced_job(
                    job.name,
                    self._pools.namespace,
                    body=client.V1DeleteOptions(preconditions=as_listed, propagation_policy="Background"),
                    _request_timeout=TIMEOUT_SECONDS,
                )
            except ApiException as error:
                if error.status not in (404, 409, 410):
                    raise

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


def _list_all(method: Callable[..., Any], pools: Pools) -> Sequence[Any]:
    """Every object of the release, page by page; from the start again where the list grew too old (410)."""
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


def _describe(job: Any, pod: Any | None) -> WorkerJob:
    state, trouble = _read_state(job, pod)
    labels: Mapping[str, str] = job.metadata.labels
    return WorkerJob(
        name=job.metadata.name,
        uid=job.metadata.uid,
        resource_version=job.metadata.resource_version,
        ordinal=int(labels[ORDINAL_LABEL]),
        template=labels.get(TEMPLATE_LABEL, ""),
        state=state,
        trouble=trouble,
        pod=pod.metadata.name if pod else "",
        pod_version=pod.metadata.resource_version if pod else "",
    )


def _read_state(job: Any, pod: Any | None) -> tuple[JobState, str]:
    ends = {condition.type: condition for condition in job.status.conditions or () if condition.status == "True"}
    if "Complete" in ends:
        return "succeeded", ""
    if "Failed" in ends:
        return "failed", _describe_failure(ends["Failed"], pod)
    if job.metadata.deletion_timestamp:
        return "starting", ""  # on its way out: it counts, and is not to be taken back again
    if pod is None:
        return ("suspended" if job.spec.suspend else "waiting"), ""
    return _read_pod(pod)


def _read_pod(pod: Any) -> tuple[JobState, str]:
    if pod.status.phase != "Pending":
        return "running", ""
    if obstacle := _find_obstacle(pod):
        return "waiting", obstacle
    return ("starting" if pod.spec.node_name else "waiting"), ""


def _find_obstacle(pod: Any) -> str:
    """Why a pending pod cannot begin; empty where it only needs time."""
    for container in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        waiting = container.state.waiting if container.state else None
        if waiting and waiting.reason in _IMPEDING:
            return f"{waiting.reason}: {waiting.message or container.image}"
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False" and condition.reason == "Unschedulable":
            return f"cannot be scheduled: {condition.message}"
    return ""


def _describe_failure(condition: Any, pod: Any | None) -> str:
    """How a worker failed, by its pod's last words where there is a pod."""
    for container in (pod.status.container_statuses or ()) if pod else ():
        ended = container.state.terminated if container.state else None
        if ended and ended.exit_code:
            words = (ended.message or "").strip()[-500:]
            return f"a worker failed with exit status {ended.exit_code} ({ended.reason}): {words}".rstrip(": ")
    if pod and pod.status.reason:
        return f"a worker's pod failed: {pod.status.reason} {pod.status.message or ''}".rstrip()
    return f"a worker failed: {condition.reason}: {condition.message}"


@contextmanager
def _translated(what: str, unless: Sequence[int] = ()) -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        if error.status not in unless:
            raise ClusterError(f"cannot {what}: {error.status} {_message(error)}") from error
    except urllib3.exceptions.HTTPError as error:
        raise ClusterError(f"cannot {what}: the cluster's API does not answer ({type(error).__name__})") from error


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
