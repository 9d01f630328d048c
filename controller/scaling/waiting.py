"""Why a pod has no node: what the scheduler says of it, and what is said of the claims that it waits for."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from paploss.controller.scaling.pods import find_obstacle

WAIT_SECONDS = 60.0
"""A pod that has had no node for so long is told of."""
TIMEOUT_SECONDS = (5, 30)
"""To connect, and for an answer."""
_TELLING = frozenset({"FailedBinding", "ProvisioningFailed"})
"""Events of claims that are of type Normal although nothing goes on."""


def waits_long(pod: Any) -> bool:
    """Whether a pod has had no node for over a minute."""
    age = datetime.now(UTC) - pod.metadata.creation_timestamp
    return pod.status.phase == "Pending" and not pod.spec.node_name and age.total_seconds() > WAIT_SECONDS


def explain(core: Any, namespace: str, pod: Any) -> str:
    """What keeps a pod from having a node, in the words of the scheduler and of the events of its claims.

    Args:
        core: a `kubernetes.client.CoreV1Api` that may list events.
        namespace: where the pod is.
        pod: as it was listed.

    Raises:
        kubernetes.client.exceptions.ApiException: the events are refused.
    """
    claims = [volume.persistent_volume_claim for volume in pod.spec.volumes or ()]
    told = [f"claim {claim.claim_name}: {word}" for claim in claims if claim for word in _tell(core, namespace, claim)]
    obstacle = find_obstacle(pod) or next(_warnings(core, namespace, "Pod", pod.metadata.name), "")
    return "; ".join([obstacle or "no node, and no event says why: is a scheduler running?", *told])


def _tell(core: Any, namespace: str, claim: Any) -> Iterator[str]:
    word = next(_warnings(core, namespace, "PersistentVolumeClaim", claim.claim_name), None)
    if word is not None:
        yield word


def _warnings(core: Any, namespace: str, kind: str, name: str) -> Iterator[str]:
    """Newest first."""
    selector = f"involvedObject.kind={kind},involvedObject.name={name}"
    found = core.list_namespaced_event(namespace, field_selector=selector, _request_timeout=TIMEOUT_SECONDS).items
    for event in sorted(found, key=lambda event: str(event.last_timestamp or event.event_time), reverse=True):
        if event.type == "Warning" or event.reason in _TELLING:
            yield f"{event.reason}: {event.message}"
