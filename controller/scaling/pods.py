"""From a Job and its pods, as listed, to the state of a worker: its phase, what keeps it from starting, how it ended.

A pod that is being deleted runs on until its worker has left a checkpoint. Meanwhile Kubernetes before 1.29 starts
another pod of the same Job and may call the Job complete when the first one ends, although the second runs; 1.25 to
1.28 call the Job failed at once. So a Job's state is that of the pod that stays, whatever the Job is called, and pods
that are leaving are counted beside it.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from paploss.controller.scaling.plan import JobState, WorkerJob

POOL_LABEL = "paploss/pool"
ORDINAL_LABEL = "paploss/ordinal"
TEMPLATE_LABEL = "paploss/template"

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
_DISRUPTIONS = frozenset({"Evicted", "NodeLost", "NodeShutdown", "Preempting", "Shutdown", "Terminated"})
"""Why a node ended a pod that had done nothing wrong: pressure, loss, shutdown, a pod of higher priority."""
_COUNTED_FAILURES = frozenset({"BackoffLimitExceeded", "PodFailurePolicy"})
"""Reasons of a failed Job that say no more than that a pod did not succeed."""


def describe(job: Any, pods: Sequence[Any]) -> WorkerJob:
    """A Job with the pods that carry its label."""
    live = [pod for pod in pods if not _has_ended(pod)]
    staying = [pod for pod in live if not pod.metadata.deletion_timestamp]
    pod = max(staying, key=lambda found: str(found.metadata.creation_timestamp), default=None)
    state, trouble = _read_state(job, pods, pod)
    return WorkerJob(
        name=job.metadata.name,
        uid=job.metadata.uid,
        resource_version=job.metadata.resource_version,
        ordinal=int(job.metadata.labels[ORDINAL_LABEL]),
        template=job.metadata.labels.get(TEMPLATE_LABEL, ""),
        state=state,
        trouble=trouble,
        pod=pod.metadata.name if pod else "",
        pod_version=pod.metadata.resource_version if pod else "",
        leaving=len(live) - len(staying),
    )


def describe_orphans(name: str, pods: Sequence[Any]) -> WorkerJob | None:
    """Pods whose Job is gone, as a Job that is leaving; None where all have ended."""
    live = [pod for pod in pods if not _has_ended(pod)]
    if not live:
        return None
    ordinal = int(live[0].metadata.labels[ORDINAL_LABEL])
    return WorkerJob(name, "", "", ordinal, "", "leaving", leaving=len(live))


def find_obstacle(pod: Any) -> str:
    """Why a pending pod cannot start; empty where it only needs time."""
    for container in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        waiting = container.state.waiting if container.state else None
        if waiting and waiting.reason in _IMPEDING:
            return f"{waiting.reason}: {waiting.message or container.image}"
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False" and condition.reason == "Unschedulable":
            return f"cannot be scheduled: {condition.message}"
    return ""


def _has_ended(pod: Any) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def _read_state(job: Any, pods: Sequence[Any], staying: Any | None) -> tuple[JobState, str]:
    if job.metadata.deletion_timestamp:
        return "leaving", ""
    return _read_job(job, pods) if staying is None else _read_pod(staying)


def _read_job(job: Any, pods: Sequence[Any]) -> tuple[JobState, str]:
    """The state of a Job of which no pod stays."""
    ends = {condition.type: condition for condition in job.status.conditions or () if condition.status == "True"}
    if "Complete" in ends:
        return "succeeded", ""
    if "Failed" in ends:
        return "failed", _describe_failure(ends["Failed"], pods)
    if job.spec.suspend:
        return "suspended", ""
    if any(not _has_ended(pod) for pod in pods) and job.spec.pod_replacement_policy == "Failed":
        return "leaving", ""
    return ("starting" if pods else "waiting"), ""  # its next pod, or its end, is a moment away


def _read_pod(pod: Any) -> tuple[JobState, str]:
    if pod.status.phase != "Pending":
        return "running", ""
    if obstacle := find_obstacle(pod):
        return "waiting", obstacle
    return ("starting" if pod.spec.node_name else "waiting"), ""


def _describe_failure(condition: Any, pods: Iterable[Any]) -> str:
    """How a worker failed, by its pod's termination message; empty where it was deleted, evicted or preempted."""
    for pod in pods:
        if _was_disrupted(pod):
            continue
        for container in pod.status.container_statuses or ():
            ended = container.state.terminated if container.state else None
            if ended and ended.exit_code:
                words = _last_words(ended.message or "")
                return f"a worker failed with exit status {ended.exit_code} ({ended.reason}): {words}".rstrip(": ")
        if pod.status.reason:
            return f"a worker's pod failed: {pod.status.reason} {pod.status.message or ''}".rstrip()
        return f"a worker failed: {condition.reason}: {condition.message}"
    # A pod that failed by itself stays as long as its Job: one that is gone was deleted.
    return "" if condition.reason in _COUNTED_FAILURES else f"a worker failed: {condition.reason}: {condition.message}"


def _last_words(log: str) -> str:
    """The message of the last line, where the log is of JSON lines; else the end of it."""
    try:
        return str(json.loads(log.strip().rpartition("\n")[2])["message"])
    except (ValueError, KeyError, TypeError):
        return log.strip()[-500:]


def _was_disrupted(pod: Any) -> bool:
    """Whether something else ended the pod: a deletion, a drain, an eviction, a preemption, the end of its node."""
    if pod.metadata.deletion_timestamp:
        return True
    if any(found.type == "DisruptionTarget" and found.status == "True" for found in pod.status.conditions or ()):
        return True
    # A pod that exceeds its own limits is evicted too, and would be each time. Where a node is low on something, older
    # kubelets also say which request it exceeds.
    message = pod.status.message or ""
    return pod.status.reason in _DISRUPTIONS and ("node was low" in message or "exceed" not in message)
