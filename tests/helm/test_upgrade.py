"""The chart's upgrade from version 0.1.0 in the middle of a search, with both versions' charts and programs.

Every pod of a controller or worker is a process with the code of its image's version. While the release is rolled, old
workers meet new controllers, new workers meet old controllers, and controllers of both versions share the database that
the migration has changed.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from charts import CHART
from clusters import Namespace, PlayedNode, image_tag
from helm_python import Config
from rollouts import PlayedControllers, Service, Visits
from stack import WAIT_SECONDS, Stack, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(5 * WAIT_SECONDS)]

OLD, NEW = "0.1.0", "0.2.0"
SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}
SEARCH: dict[str, Any] = {
    "profile": "synthetic",
    "prune": False,
    "gpus": 1,
    "rounds": 10,
    "trials_per_round": 4,
    "synthetic": {"iterations": 10, "iteration_seconds": 0.4},
    "confirm": {"candidates": 2, "seeds": 1},
}


@pytest.fixture
def stack(tmp_path: Path, redis_url: str, postgres_url: str) -> Iterator[Stack]:
    """A database of version 0.1.0."""
    # Leases of half a minute: what is tried is no lost worker, and a busy machine must not make one.
    patient = {"PAPLOSS_LEASE_SECONDS": "30", "PAPLOSS_LEADER_LEASE_SECONDS": "10", "PAPLOSS_SCALING_SECONDS": "0.5"}
    with Stack(tmp_path / "stack", redis_url, postgres_url, revision="0005", **patient) as opened:
        yield opened


@pytest.mark.parametrize("mode", ["static", "elastic"])
def test_an_upgrade_in_the_middle_of_a_search_fails_no_trial_and_no_page(
    namespace: Namespace, stack: Stack, version_0_1_0: Path, mode: str
) -> None:
    values = {
        "controller": {"replicas": 2},
        "state": {"ephemeral": True},
        "workers": {
            "mode": mode,
            "shmSize": "64Mi",
            "pools": {"gpu": {"gpus": 1, "replicas": 2, "maximum": 2, "resources": SMALL}},
        },
    }
    earlier = {OLD: str(version_0_1_0)}
    with Service(stack.port) as service, Config(kubeconfig_path=namespace.kubeconfig, namespace=namespace.name) as helm:
        controllers = PlayedControllers(namespace, stack, service, earlier)
        node = PlayedNode(namespace, stack, earlier=earlier)

        def look() -> None:
            controllers.look()
            node.look()

        def wait(holds: Any, what: str) -> None:
            wait_until(lambda: (look(), holds())[1], what)

        helm.install(str(version_0_1_0 / "helm"), "demo", values, namespace=namespace.name)
        wait(lambda: len(service.ready) == 2, "two controllers")
        assert controllers.tags() == {OLD}
        search_id = str(stack.post("searches", SEARCH)["id"])
        pages = ("/", f"/searches/{search_id}", "/workers", "/trainings", f"/trials/{search_id}-000000")
        api = ("/api/v1/searches", f"/api/v1/searches/{search_id}", f"/api/v1/searches/{search_id}/trials")
        trials_path = f"searches/{search_id}/trials"
        wait(lambda: any(trial["reward"] is not None for trial in stack.get(trials_path)["items"]), "a first reward")

        with Visits(stack, *pages, *api) as visits:
            upgrade = threading.Thread(
                target=helm.upgrade,
                args=(str(CHART), "demo", values),
                kwargs={"namespace": namespace.name, "timeout": 2 * WAIT_SECONDS},
            )
            upgrade.start()
            wait(lambda: not upgrade.is_alive(), "the upgrade")
            wait(
                lambda: controllers.tags() == {NEW} and len(stack.replicas) and len(service.ready) == 2, "the new ones"
            )
            assert stack.get(f"experiments/{search_id}")["state"] == "running", (
                "the search ended before the upgrade did"
            )
            if mode == "elastic":
                for pod in namespace.pods():  # a running one is never taken back: nodes are drained for the upgrade
                    node.delete(pod)
            wait(lambda: {image_tag(pod) for pod in namespace.pods()} == {NEW}, "workers of the new version")
            wait(lambda: stack.get(f"experiments/{search_id}")["state"] != "running", "the end of the search")

        trials = stack.trials(search_id)
        assert stack.get(f"experiments/{search_id}")["state"] == "succeeded", stack.story(search_id)
        assert {trial["state"] for trial in trials} == {"succeeded"}, stack.story(search_id)
        assert {trial["failed_attempts"] for trial in trials} == {0}, stack.story(search_id)
        assert visits.count > 0
        answered = {status for statuses in visits.answers.values() for status in statuses}
        assert not {status for status in answered if status >= 500}, visits.answers
        assert all(200 in statuses for statuses in visits.answers.values()), visits.answers
