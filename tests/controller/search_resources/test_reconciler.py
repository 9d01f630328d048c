"""Search resources and the searches that they stand for; over a real API server in test_search_resources.py."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation import Platform
from sqlalchemy import func, select

from paploss.client.projects import DEFAULT_PROJECT, ProjectChange, ProjectRequest
from paploss.controller.scaling.errors import ClusterError
from paploss.controller.search_resources import reconciler as reconcilers
from paploss.controller.search_resources.reconciler import Reconciler
from paploss.controller.search_resources.resources import FINALISER, SearchResource
from paploss.controller.search_resources.status import LONGEST_MESSAGE
from paploss.controller.store.database import Session
from paploss.controller.store.errors import ConflictError
from paploss.controller.store.experiments import delete_experiment, fail_experiment
from paploss.controller.store.projects import change_project, create_project
from paploss.controller.store.tables import Experiment, IdempotencyKey

pytestmark = pytest.mark.databases("sqlite")

SEARCH: dict[str, Any] = {
    "profile": "synthetic",
    "algorithm": "random",
    "rounds": 1,
    "trials_per_round": 2,
    "confirm": {"candidates": 1, "seeds": 2},
}


class KeptResources:
    """Search resources that are kept in memory, as the API server keeps them."""

    namespace = "ml"

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.writes = 0
        self.is_refusing = False

    def apply(self, name: str, /, **search: Any) -> dict[str, Any]:
        """`kubectl apply`."""
        kept = self.kept.setdefault(name, {"metadata": {"name": name, "uid": f"uid-of-{name}", "generation": 0}})
        kept["spec"] = {"search": search}
        kept["metadata"]["generation"] += 1
        return self._touch(kept)

    def delete(self, name: str) -> None:
        """`kubectl delete`."""
        self._touch(self.kept[name])["metadata"]["deletionTimestamp"] = "2026-11-27T08:00:00Z"

    def condition(self, name: str, kind: str) -> tuple[str, str] | None:
        """Status and message of a condition."""
        found = {each["type"]: each for each in self.kept[name]["status"]["conditions"]}
        return (found[kind]["status"], found[kind]["message"]) if kind in found else None

    def list_all(self) -> list[SearchResource]:
        return [SearchResource.of(deepcopy(kept)) for kept in self.kept.values()]

    def protect(self, resource: SearchResource) -> SearchResource | None:
        kept = self.kept[resource.name]
        if kept["metadata"]["resourceVersion"] != resource.resource_version:
            return None
        kept["metadata"]["finalizers"] = [FINALISER]
        return SearchResource.of(deepcopy(self._touch(kept)))

    def release(self, resource: SearchResource) -> None:
        assert self.kept[resource.name]["metadata"]["resourceVersion"] == resource.resource_version
        del self.kept[resource.name]

    def write_status(self, resource: SearchResource, status: dict[str, Any]) -> None:
        if self.is_refusing:
            raise ClusterError("cannot write: 500")
        self.writes += 1
        self._touch(self.kept[resource.name])["status"] = deepcopy(status)

    def _touch(self, kept: dict[str, Any]) -> dict[str, Any]:
        kept["metadata"]["resourceVersion"] = str(int(kept["metadata"].get("resourceVersion", 0)) + 1)
        return kept


@pytest.fixture
def resources() -> KeptResources:
    return KeptResources()


def lead(platform: Platform, resources: KeptResources) -> Reconciler:
    """The reconciler of a controller that has just begun to lead."""
    roots = platform.settings.data_roots
    return Reconciler(
        platform.database, resources, roots, leads=lambda: True, wake=platform.driver.wake, pause_seconds=60
    )


@pytest.fixture
def reconciler(platform: Platform, resources: KeptResources) -> Reconciler:
    return lead(platform, resources)


def searches(platform: Platform) -> list[Experiment]:
    with platform.database.read() as session:
        return list(session.scalars(select(Experiment).order_by(Experiment.id)))


@pytest.mark.databases("postgresql")
def test_a_request_that_the_database_cannot_store_is_refused_and_holds_up_no_other(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    """SQLite stores a NUL character."""
    resources.apply("bad", **SEARCH, name="\0")
    resources.apply("good", **SEARCH)
    reconciler.look()
    assert [search.name for search in searches(platform)] == ["good"]
    refusal = "spec.search: a value cannot be stored: a NUL character, or a number out of range"
    assert resources.condition("bad", "Accepted") == ("False", refusal)


def test_a_resource_gets_a_search_and_tells_of_it(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    kept = resources.apply("cells", **SEARCH)
    reconciler.look()
    (search,) = searches(platform)
    assert (search.name, search.owner, search.state) == ("cells", "kubernetes:ml", "running")
    assert kept["metadata"]["finalizers"] == [FINALISER]
    told = kept["status"]
    assert (told["id"], told["state"], told["observedGeneration"]) == (search.id, "running", 1)
    assert resources.condition("cells", "Accepted") == ("True", f"the search {search.id}")
    assert resources.condition("cells", "Succeeded") == ("False", "")
    assert search.planned
    assert told["trials"] == {"final": 0, "planned": search.planned}
    assert "best" not in told


def test_the_best_so_far_is_told_before_the_end(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    kept = resources.apply("cells", **SEARCH)
    reconciler.look()
    platform.driver.tick()
    platform.work(1)
    reconciler.look()
    assert (kept["status"]["state"], kept["status"]["trials"]["final"]) == ("running", 1)
    assert kept["status"]["best"] > 0


def test_a_failure_is_told_with_its_reason_as_far_as_kubernetes_takes_it(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    resources.apply("cells", **SEARCH)
    reconciler.look()
    with platform.database.write() as session:
        search = session.scalars(select(Experiment)).one()
        fail_experiment(session, search, "too many trials failed" + 40_000 * "!")
    reconciler.look()
    status, message = resources.condition("cells", "Failed") or ("", "")
    assert (status, len(message)) == ("True", LONGEST_MESSAGE)
    assert message.startswith(f"the search {search.id} failed: too many trials failed")
    assert resources.condition("cells", "Succeeded") == ("False", "")


def test_a_condition_has_the_time_since_which_it_has_been_so(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    kept = resources.apply("cells", **SEARCH)
    reconciler.look()
    long_ago = "2026-11-01T00:00:00Z"
    for condition in kept["status"]["conditions"]:
        condition["lastTransitionTime"] = long_ago
    platform.run(searches(platform)[0])
    reconciler.look()
    since = {each["type"]: each["lastTransitionTime"] for each in kept["status"]["conditions"]}
    assert since["Accepted"] == since["Failed"] == long_ago != since["Succeeded"]


def test_the_end_is_told_with_the_best_and_the_verdict_and_then_left_alone(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    kept = resources.apply("cells", **SEARCH)
    reconciler.look()
    search = platform.run(searches(platform)[0])
    reconciler.look()
    assert search.best is not None
    assert kept["status"]["best"] == pytest.approx(search.best["mean"], abs=1e-4)
    assert kept["status"]["trials"]["final"] == kept["status"]["trials"]["planned"] > 2
    assert resources.condition("cells", "Succeeded") == ("True", search.best["verdict"]["sentence"])
    writes = resources.writes
    lead(platform, resources).look()
    assert resources.writes == writes
    resources.apply("cells", **SEARCH | {"rounds": 9})
    reconciler.look()
    assert (resources.condition("cells", "Changed") or ("", ""))[0] == "True"


def test_nothing_is_written_while_nothing_changes(resources: KeptResources, reconciler: Reconciler) -> None:
    resources.apply("cells", **SEARCH)
    resources.apply("refused", profile="no-such")
    reconciler.look()
    before = deepcopy(resources.kept)
    reconciler.look()
    assert (resources.writes, resources.kept) == (2, before)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"profile": "retinanet-tine"}, "spec.search.profile: "),
        ({"roundz": 3}, "spec.search.roundz: unknown key"),
        ({"kind": "comparison"}, "spec.search.kind: "),
        ({"weights": "/etc/passwd"}, "spec.search.weights: "),
        ({"algorithm": "guided", "start_from": ["nope"]}, "nope"),
    ],
)
def test_a_fault_is_told_in_a_condition_and_can_be_corrected(
    platform: Platform, resources: KeptResources, reconciler: Reconciler, changes: dict[str, Any], told: str
) -> None:
    resources.apply("cells", **SEARCH | changes)
    reconciler.look()
    status, message = resources.condition("cells", "Accepted") or ("", "")
    assert status == "False"
    assert told in message
    assert searches(platform) == []
    kept = resources.apply("cells", **SEARCH)
    reconciler.look()
    assert (resources.condition("cells", "Accepted") or ("", ""))[0] == "True"
    assert kept["status"]["observedGeneration"] == 2


def test_a_request_keeps_to_the_data_roots_of_the_default_project(platform: Platform, resources: KeptResources) -> None:
    """Whose members could otherwise name everything in a manifest that they may not name in a request."""
    with platform.database.write() as session:
        change_project(session, DEFAULT_PROJECT, ProjectChange(data_roots=["/data/birds"]))
    operators = replace(platform, settings=platform.settings.model_copy(update={"data_roots": (Path("/data"),)}))
    splits = {part: {"annotations": f"{part}.json", "images": "images"} for part in ("train", "val")}
    for name in ("birds", "cells"):
        resources.apply(name, **SEARCH, dataset={"name": name, "root": f"/data/{name}", **splits})
    lead(operators, resources).look()
    assert [search.name for search in searches(platform)] == ["birds"]
    status, message = resources.condition("cells", "Accepted") or ("", "")
    assert (status, "beneath one of the data roots: /data/birds" in message) == ("False", True)


def test_a_request_takes_nothing_from_the_search_of_another_project(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    with platform.database.write() as session:
        create_project(session, ProjectRequest(name="lab"))
    resources.apply("cells", **SEARCH)
    reconciler.look()
    search = platform.run(searches(platform)[0])
    learner = SEARCH | {"algorithm": "guided", "start_from": [{"search": search.id}]}
    resources.apply("own", **learner)
    reconciler.look()
    assert resources.condition("own", "Accepted") is not None
    assert resources.kept["own"]["status"]["state"] == "running"
    with platform.database.write() as session:
        session.get_one(Experiment, search.id).project = "lab"
    resources.apply("learner", **learner)
    reconciler.look()
    message = f"spec.search: start_from[0]: there is no experiment {search.id}"
    assert resources.condition("learner", "Accepted") == ("False", message)


def test_a_fault_in_one_resource_holds_up_no_other(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    resources.apply("a", profile=7)
    resources.apply("b", **SEARCH)
    reconciler.look()
    assert [search.name for search in searches(platform)] == ["b"]


def test_a_resource_that_the_cluster_protects_holds_up_no_other(
    platform: Platform, resources: KeptResources, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    protect = resources.protect

    def admit(resource: SearchResource) -> SearchResource | None:
        if resource.name == "a":
            raise ClusterError("cannot change the finalisers of the Search a: 403 denied by a policy")
        return protect(resource)

    monkeypatch.setattr(resources, "protect", admit)
    resources.apply("a", **SEARCH)
    resources.apply("b", **SEARCH)
    with pytest.raises(ClusterError, match="Search a: 403"):
        reconciler.look()
    assert [search.name for search in searches(platform)] == ["b"]


def test_a_resource_that_has_changed_since_it_was_listed_has_no_search_yet(
    platform: Platform, resources: KeptResources, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been deleted: without a finaliser nothing would cancel its search."""
    kept = resources.apply("cells", **SEARCH)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(resources, "protect", lambda _: None)
        reconciler.look()
    assert (searches(platform), "status" in kept) == ([], False)
    reconciler.look()
    assert len(searches(platform)) == 1


def test_what_another_leader_has_created_meanwhile_is_told(
    platform: Platform, resources: KeptResources, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = resources.apply("cells", **SEARCH)

    def check_slowly(*_: object) -> None:
        """Meanwhile the request is changed, and another leader creates that."""
        monkeypatch.undo()
        resources.apply("cells", **SEARCH | {"rounds": 2})
        lead(platform, resources).look()

    monkeypatch.setattr(reconcilers, "check_files", check_slowly)
    reconciler.look()
    (search,) = searches(platform)
    assert (search.rounds, kept["status"]["id"]) == (2, search.id)
    assert (resources.condition("cells", "Accepted") or ("", ""))[0] == "True"


def test_only_the_leader_looks_and_what_goes_wrong_is_tried_again(
    platform: Platform, resources: KeptResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources.apply("cells", **SEARCH)
    terms = iter((False, True, True, True))
    found: list[int] = []

    def leads() -> bool:
        found.append(len(searches(platform)))
        if (term := next(terms, None)) is None:
            looping.stop()
        return bool(term)

    troubles = iter((ClusterError("no cluster"), ValueError("a defect")))
    list_all = resources.list_all

    def list_with_troubles() -> list[SearchResource]:
        if (trouble := next(troubles, None)) is not None:
            raise trouble
        return list_all()

    monkeypatch.setattr(resources, "list_all", list_with_troubles)
    looping = Reconciler(platform.database, resources, (), leads=leads, wake=platform.driver.wake, pause_seconds=0.001)
    looping.run()
    assert found == [0, 0, 0, 0, 1]


def test_a_leader_that_ends_before_it_has_told_leaves_one_search(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    kept = resources.apply("cells", **SEARCH)
    resources.is_refusing = True
    with pytest.raises(ClusterError):
        reconciler.look()
    resources.is_refusing = False
    lead(platform, resources).look()
    (search,) = searches(platform)
    assert kept["status"]["id"] == search.id


def test_a_status_outlives_the_idempotency_key(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    kept = resources.apply("cells", **SEARCH)
    reconciler.look()
    with platform.database.write() as session:
        session.delete(session.scalars(select(IdempotencyKey)).one())
    reconciler.look()
    (search,) = searches(platform)
    assert kept["status"]["id"] == search.id


@pytest.mark.parametrize("is_told", [True, False])
def test_a_changed_request_is_refused_and_the_search_goes_on(
    platform: Platform, resources: KeptResources, reconciler: Reconciler, is_told: bool
) -> None:
    resources.apply("cells", **SEARCH)
    if is_told:
        reconciler.look()
    else:
        resources.is_refusing = True
        with pytest.raises(ClusterError):
            reconciler.look()
        resources.is_refusing = False
    kept = resources.apply("cells", **SEARCH | {"rounds": 9})
    reconciler.look()
    (search,) = searches(platform)
    assert search.rounds == 1
    assert (kept["status"]["id"], kept["status"]["observedGeneration"]) == (search.id, 2)
    status, message = resources.condition("cells", "Changed") or ("", "")
    assert (status, "cannot" in message) == ("True", True)
    resources.apply("cells", **SEARCH)
    reconciler.look()
    assert resources.condition("cells", "Changed") is None


def test_a_deleted_resource_takes_its_search_along_as_cancelled(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    resources.apply("cells", **SEARCH)
    reconciler.look()
    resources.delete("cells")
    reconciler.look()
    assert resources.kept == {}
    assert [search.state for search in searches(platform)] == ["cancelled"]


def test_a_search_that_ends_while_it_is_cancelled_holds_up_no_other_resource(
    platform: Platform, resources: KeptResources, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources.apply("a", **SEARCH)
    reconciler.look()
    resources.delete("a")
    resources.apply("b", **SEARCH)

    def cancel_too_late(_: Session, experiment_id: str) -> None:
        raise ConflictError(f"search {experiment_id} has succeeded")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(reconcilers, "cancel_experiment", cancel_too_late)
        reconciler.look()
    assert sorted(search.name for search in searches(platform)) == ["a", "b"]
    assert "a" in resources.kept
    reconciler.look()
    assert "a" not in resources.kept


def test_results_outlive_a_resource_that_is_deleted(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    resources.apply("cells", **SEARCH)
    reconciler.look()
    platform.run(searches(platform)[0])
    resources.delete("cells")
    reconciler.look()
    assert resources.kept == {}
    assert [search.state for search in searches(platform)] == ["succeeded"]


def test_a_resource_that_is_deleted_before_it_was_seen_has_no_search(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    resources.apply("cells", **SEARCH)["metadata"]["finalizers"] = ["example.org/other"]
    resources.delete("cells")
    reconciler.look()
    assert resources.kept["cells"]["metadata"]["finalizers"] == ["example.org/other"]
    assert searches(platform) == []


def test_a_search_that_was_deleted_is_not_created_again(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    kept = resources.apply("cells", **SEARCH)
    reconciler.look()
    platform.run(searches(platform)[0])
    delete_experiment(platform.database, kept["status"]["id"])
    reconciler.look()
    reconciler.look()
    assert searches(platform) == []
    assert kept["status"]["state"] == "deleted"


def test_a_status_that_names_anothers_search_neither_tells_of_it_nor_cancels_it(
    platform: Platform, resources: KeptResources, reconciler: Reconciler
) -> None:
    resources.apply("cells", **SEARCH)
    reconciler.look()
    with platform.database.write() as session:
        session.scalars(select(Experiment)).one().owner = "ann"
    kept = resources.apply("mine", **SEARCH)
    kept["status"] = resources.kept["cells"]["status"] | {"trials": {}}
    kept["metadata"]["finalizers"] = [FINALISER]
    reconciler.look()
    assert (kept["status"]["state"], kept["status"]["trials"]) == ("deleted", {})
    resources.delete("mine")
    reconciler.look()
    assert [search.state for search in searches(platform)] == ["running"]
    with platform.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Experiment)) == 1
