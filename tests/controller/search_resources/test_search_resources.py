"""Search resources over a real API server, with the rights that the chart gives and no others."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from clusters import Namespace, PlayedNode, Release
from kubernetes import client
from stack import Stack, wait_until

from paploss.controller.search_resources.resources import GROUP, PLURAL, VERSION

pytestmark = pytest.mark.cluster

APPLIED = """
apiVersion: paploss.dev/v1alpha1
kind: Search
metadata: {name: cells}
spec:
  search:
    profile: synthetic
    algorithm: random
    gpus: 1
    rounds: 1
    trials_per_round: 3
    confirm: {candidates: 1, seeds: 1}
"""

MERGE = {"_content_type": "application/merge-patch+json"}


class Searches:
    """The Search resources of a namespace, with an administrator's rights."""

    def __init__(self, namespace: Namespace) -> None:
        self._api: Any = client.CustomObjectsApi(namespace.api)
        self._place = (GROUP, VERSION, namespace.name, PLURAL)

    def create(self, **changes: Any) -> None:
        applied = yaml.safe_load(APPLIED)
        applied["spec"]["search"] |= changes
        self._api.create_namespaced_custom_object(*self._place, applied)

    def change(self, **changes: Any) -> None:
        self._api.patch_namespaced_custom_object(*self._place, "cells", {"spec": {"search": changes}}, **MERGE)

    def delete(self) -> None:
        self._api.delete_namespaced_custom_object(*self._place, "cells")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get_namespaced_custom_object(*self._place, "cells").get("status", {})
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        """Empty where there is none."""
        return next((each for each in self.status().get("conditions", ()) if each["type"] == kind), {})

    def is_gone(self) -> bool:
        return not self._api.list_namespaced_custom_object(*self._place)["items"]

    def clear(self) -> None:
        """Delete it, if it is there, without a controller that would take its finaliser away."""
        if not self.is_gone():
            bare = {"metadata": {"finalizers": []}}
            self._api.patch_namespaced_custom_object(*self._place, "cells", bare, **MERGE)
            self._api.delete_namespaced_custom_object(*self._place, "cells")


@pytest.fixture
def searches(release: Release) -> Iterator[Searches]:
    """Of a release that has them, with the definition of their kind, which is the cluster's."""
    release.install(search_resources=True)
    made = Searches(release.namespace)
    definitions: Any = client.ApiextensionsV1Api(release.namespace.api)

    def is_established() -> bool:
        conditions = definitions.read_custom_resource_definition(f"{PLURAL}.{GROUP}").status.conditions or ()
        return any(each.type == "Established" and each.status == "True" for each in conditions)

    wait_until(is_established, "the definition of Search")
    yield made
    made.clear()
    definitions.delete_custom_resource_definition(f"{PLURAL}.{GROUP}")

    def is_undefined() -> bool:
        return f"{PLURAL}.{GROUP}" not in [
            each.metadata.name for each in definitions.list_custom_resource_definition().items
        ]

    wait_until(is_undefined, "the definition to go")


def list_searches(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.http.get("/experiments").json()["items"]
    return found


def test_an_applied_search_runs_and_tells_how_it_ended(release: Release, searches: Searches) -> None:
    with release.start() as stack:
        node = PlayedNode(release.namespace, stack)
        searches.create()

        def ended() -> bool:
            node.look()
            return searches.condition("Succeeded").get("status") == "True"

        wait_until(ended, "the search to succeed")
        (search,) = list_searches(stack)
        assert (search["name"], search["owner"]) == ("cells", f"kubernetes:{release.namespace.name}")
        status = searches.status()
        assert (status["id"], status["state"], status["observedGeneration"]) == (search["id"], "succeeded", 1)
        assert status["best"] == pytest.approx(search["best_ap"], abs=1e-4)
        assert status["trials"] == {"final": search["trials_final"], "planned": search["trials_planned"]}
        assert searches.condition("Accepted")["status"] == "True"
        searches.delete()
        wait_until(searches.is_gone, "the finaliser to be removed")
        assert [each["state"] for each in list_searches(stack)] == ["succeeded"]


def test_a_wrong_search_says_why_and_one_that_is_corrected_begins(release: Release, searches: Searches) -> None:
    with release.start() as stack:
        searches.create(profile="retinanet-tinny")
        condition = wait_until(lambda: searches.condition("Accepted"), "an answer")
        assert condition["status"] == "False"
        assert condition["message"].startswith("spec.search.profile: ")
        assert list_searches(stack) == []
        searches.change(profile="synthetic")
        wait_until(lambda: searches.condition("Accepted").get("status") == "True", "it to be accepted")
        searches.change(rounds=5)
        wait_until(lambda: searches.condition("Changed").get("status") == "True", "the change to be refused")
        (search,) = list_searches(stack)
        assert search["rounds"] == 1


def test_what_is_deleted_while_the_controller_is_away_is_cancelled_when_it_comes_back(
    release: Release, searches: Searches
) -> None:
    with release.start() as stack:
        searches.create()
        wait_until(lambda: searches.status().get("id"), "the search")
        stack.kill_controller()
        searches.delete()
        assert not searches.is_gone()
        stack.start_controller()
        wait_until(searches.is_gone, "the finaliser to be removed")
        assert [each["state"] for each in list_searches(stack)] == ["cancelled"]


def test_the_controller_has_rights_on_the_searches_of_its_namespace_alone(release: Release, searches: Searches) -> None:
    account = f"system:serviceaccount:{release.namespace.name}:demo-controller"
    api: Any = client.AuthorizationV1Api(release.namespace.api)

    def may(verb: str, namespace: str, subresource: str = "") -> bool:
        asked = {"group": GROUP, "resource": PLURAL, "verb": verb, "namespace": namespace, "subresource": subresource}
        review = {"spec": {"user": account, "resourceAttributes": asked}}
        return bool(api.create_subject_access_review(review).status.allowed)

    own = release.namespace.name
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
    assert [verb for verb in verbs if may(verb, own)] == ["list", "patch"]
    assert [verb for verb in verbs if may(verb, own, "status")] == ["patch"]
    assert not [verb for verb in verbs for place in ("default", "") if may(verb, place)]
