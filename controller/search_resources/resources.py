"""The Kubernetes API for Search resources: list them, and write their status and our finaliser.

Needs the right to list and patch them and their status in one namespace, and no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from kubernetes import client

from paploss.controller.scaling.cluster import connect, translated, unless_changed
from paploss.controller.scaling.waiting import TIMEOUT_SECONDS

GROUP: Final = "paploss.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "searches"
FINALISER: Final = f"{GROUP}/cancel"
"""Keeps a resource that is deleted until its search is cancelled."""
_PAGE: Final = 200
_MERGE: Final = "application/merge-patch+json"


@dataclass(frozen=True)
class SearchResource:
    """A Search, as the cluster lists it."""

    name: str
    uid: str
    resource_version: str
    generation: int
    """Raised by the API server with each change of the spec."""
    is_deleted: bool
    """Whether it goes as soon as it has no finaliser."""
    finalisers: Sequence[str]
    search: Mapping[str, Any]
    """The request."""
    status: Mapping[str, Any]

    @property
    def is_protected(self) -> bool:
        """Whether it has our finaliser."""
        return FINALISER in self.finalisers

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        metadata = listed["metadata"]
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            generation=metadata["generation"],
            is_deleted="deletionTimestamp" in metadata,
            finalisers=metadata.get("finalizers", ()),
            search=listed["spec"]["search"],
            status=listed.get("status", {}),
        )


class SearchResources:
    """The Search resources of one namespace. Not safe for use from several threads.

    Every method raises ClusterError where the cluster cannot be reached or refuses.
    """

    def __init__(self, namespace: str) -> None:
        """Use KUBECONFIG, or the service account of the pod that this runs in."""
        connect()
        self.namespace = namespace
        self._api: Any = client.CustomObjectsApi()
        self._place = (GROUP, VERSION, namespace, PLURAL)

    def list_all(self) -> list[SearchResource]:
        """All of them, by name."""
        found: list[SearchResource] = []
        position = ""
        while True:
            options = {"limit": _PAGE, "_continue": position, "_request_timeout": TIMEOUT_SECONDS}
            with translated("list Search resources"):
                page = self._api.list_namespaced_custom_object(*self._place, **options)
            found += map(SearchResource.of, page["items"])
            position = page["metadata"].get("continue", "")
            if not position:
                return found

    def protect(self, resource: SearchResource) -> SearchResource | None:
        """Add our finaliser; None where the resource has changed since it was listed."""
        return self._set_finalisers(resource, [*resource.finalisers, FINALISER])

    def release(self, resource: SearchResource) -> None:
        """Take our finaliser away; nothing happens where the resource has changed since it was listed."""
        self._set_finalisers(resource, [name for name in resource.finalisers if name != FINALISER])

    def write_status(self, resource: SearchResource, status: Mapping[str, Any]) -> None:
        """Replace the status; nothing happens where the resource is gone."""
        absent = dict.fromkeys(resource.status.keys() - status.keys())  # a merge patch removes what is null
        with translated(f"write the status of the Search {resource.name}"), unless_changed():
            self._api.patch_namespaced_custom_object_status(
                *self._place,
                resource.name,
                {"metadata": {"uid": resource.uid}, "status": {**absent, **status}},
                _content_type=_MERGE,
                _request_timeout=TIMEOUT_SECONDS,
            )

    def _set_finalisers(self, resource: SearchResource, names: Sequence[str]) -> SearchResource | None:
        as_listed = {"uid": resource.uid, "resourceVersion": resource.resource_version}
        changed: dict[str, Any] | None = None
        with translated(f"change the finalisers of the Search {resource.name}"), unless_changed():
            changed = self._api.patch_namespaced_custom_object(
                *self._place,
                resource.name,
                {"metadata": {**as_listed, "finalizers": list(names)}},
                _content_type=_MERGE,
                _request_timeout=TIMEOUT_SECONDS,
            )
        return None if changed is None else SearchResource.of(changed)
