"""The workers that the chart renders, static and elastic: pools, GPUs, nodes, queues of Kueue, and time to end."""

from itertools import product
from typing import Any

import pytest
import yaml
from charts import ALL, IDENTITY, ROOT, VALUES, objects_of, pod_specs, read_values, render, values_of, worker_jobs

from paploss.controller.scaling.pools import Pools


def test_the_queues_admit_the_workers_that_name_them() -> None:
    queues = list(yaml.safe_load_all((ROOT / "deploy" / "kueue" / "queues.yaml").read_text()))
    (local,) = [found for found in queues if found["kind"] == "LocalQueue"]
    assert local["metadata"]["name"] == read_values("kueue")["workers"]["kueue"]["queueName"]
    (cluster,) = [found for found in queues if found["kind"] == "ClusterQueue"]
    covered = set(cluster["spec"]["resourceGroups"][0]["coveredResources"])
    priorities = {found["metadata"]["name"] for found in queues if found["kind"] == "PriorityClass"}
    for job in worker_jobs(render(read_values("kueue"))):
        spec = job["spec"]["template"]["spec"]
        resources = spec["containers"][0]["resources"]
        assert {*resources["requests"], *resources["limits"]} <= covered
        assert spec.get("priorityClassName") in {None, *priorities}


def test_the_namespace_of_the_queue_is_made_before_the_queue() -> None:
    head = [line.lstrip("# ") for line in VALUES["kueue"].read_text().splitlines() if line.startswith("#   ")]
    queues = yaml.safe_load_all((ROOT / "deploy" / "kueue" / "queues.yaml").read_text())
    (namespace,) = [found["metadata"]["namespace"] for found in queues if found["kind"] == "LocalQueue"]
    assert head[:2] == [f"kubectl create namespace {namespace}", "kubectl apply -f deploy/kueue/queues.yaml"]
    assert f" -n {namespace} " in head[2]


@pytest.mark.parametrize("name", ALL)
def test_the_controller_can_read_its_pools(name: str) -> None:
    files = [found["data"]["pools.yaml"] for found in render(values_of(name)) if "pools.yaml" in found.get("data", {})]
    elastic = values_of(name).get("workers", {}).get("mode", "elastic") == "elastic"
    assert len(files) == int(elastic)
    for file in files:
        assert Pools.model_validate(yaml.safe_load(file)).namespace == "ml"


def test_a_worker_asks_for_its_gpus_by_the_name_of_the_cluster() -> None:
    pools = {
        "gpu": {"gpus": 1, "maximum": 1},
        "mig": {"gpus": 2, "maximum": 1, "gpuResource": "nvidia.com/mig-1g.10gb"},
        "none": {"gpus": 0, "maximum": 1},
    }
    workers = {"gpuResource": "amd.com/gpu", "pools": pools}
    specs = dict(pod_specs(render({"workers": workers})))
    limits = {name: specs[name]["containers"][0]["resources"].get("limits", {}) for name in ("gpu", "mig", "none")}
    assert limits["gpu"]["amd.com/gpu"] == "1"
    assert limits["mig"] == {"nvidia.com/mig-1g.10gb": "2", "memory": "32Gi"}
    assert limits["none"] == {"memory": "32Gi"}


def pools_of(values: dict[str, Any]) -> set[str]:
    """The pools that are rendered, static and elastic."""
    objects = render(values)
    labels = [found["metadata"]["labels"] for found in objects if found["kind"] == "Deployment"]
    return {job["name"] for job in worker_jobs(objects)} | {
        found["paploss/pool"] for found in labels if "paploss/pool" in found
    }


@pytest.mark.parametrize("name", VALUES)
def test_a_ready_value_file_has_the_pools_that_it_names_and_no_others(name: str) -> None:
    assert pools_of(read_values(name)) == set(read_values(name)["workers"]["pools"])


@pytest.mark.parametrize("mode", ["static", "elastic"])
def test_pools_of_the_operator_stand_in_place_of_the_default_one(mode: str) -> None:
    assert pools_of({"workers": {"mode": mode}}) == {"gpu"}
    assert pools_of({"workers": {"mode": mode, "pools": {"a": {"gpus": 0, "replicas": 1, "maximum": 1}}}}) == {"a"}


def test_a_pool_may_have_nodes_of_its_own() -> None:
    pools = {"gpu": {"gpus": 1, "maximum": 1, "nodeSelector": {"gpu": "a100"}}, "more": {"gpus": 1, "maximum": 1}}
    specs = dict(pod_specs(render({"workers": {"nodeSelector": {"gpu": "any"}, "pools": pools}})))
    assert specs["gpu"]["nodeSelector"] == {"gpu": "a100"}
    assert specs["more"]["nodeSelector"] == {"gpu": "any"}


def test_a_pools_placement_replaces_the_one_beside_the_pools_also_by_nothing() -> None:
    common = {"nodeSelector": {"gpu": "any"}, "tolerations": [{"key": "nvidia.com/gpu"}], "priorityClassName": "high"}
    pools = {
        "ssd": {"gpus": 0, "maximum": 1, "nodeSelector": {"disk": "ssd"}},
        "anywhere": {"gpus": 0, "maximum": 1, "nodeSelector": {}, "tolerations": [], "priorityClassName": ""},
    }
    specs = dict(pod_specs(render({"workers": common | {"pools": pools}})))
    assert specs["ssd"]["nodeSelector"] == {"disk": "ssd"}
    assert specs["ssd"]["tolerations"] == common["tolerations"]
    assert common.keys().isdisjoint(specs["anywhere"])


@pytest.mark.parametrize("given", [{}, {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}])
def test_an_autoscaler_moves_no_elastic_worker_unless_the_operator_lets_it(given: dict[str, str]) -> None:
    (manifest,) = (
        each for each in render({"workers": {"podAnnotations": given}}) if "pools.yaml" in each.get("data", {})
    )
    (pool,) = yaml.safe_load(manifest["data"]["pools.yaml"])["pools"]
    annotations = pool["job"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations.items() >= ({"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"} | given).items()


def test_a_worker_has_time_for_its_checkpoint() -> None:
    specs = dict(pod_specs(render({"workers": {"graceSeconds": 300}})))
    environment = {entry["name"]: entry.get("value") for entry in specs["gpu"]["containers"][0]["env"]}
    assert specs["gpu"]["terminationGracePeriodSeconds"] > float(environment["PAPLOSS_GRACE_SECONDS"] or 0) == 300


@pytest.mark.parametrize("name", ["default", "cloud-spot"])
def test_workers_reach_what_the_operator_adds_beside_the_release(name: str) -> None:
    def egress(**network_policy: Any) -> list[dict[str, Any]]:
        found = objects_of("NetworkPolicy", read_values(name) | {"networkPolicy": network_policy})
        (rules,) = [policy["spec"]["egress"] for policy in found if policy["metadata"]["name"] == "demo-worker"]
        return list(rules)

    assert egress(workerEgress=IDENTITY) == egress() + IDENTITY


def test_workers_reach_names_also_behind_a_dns_service_that_maps_its_port() -> None:
    (policy,) = (found for found in objects_of("NetworkPolicy", {}) if found["metadata"]["name"] == "demo-worker")
    names, *_ = policy["spec"]["egress"]
    assert {(port["port"], port["protocol"]) for port in names["ports"]} == set(product((53, 5353), ("UDP", "TCP")))


def test_a_worker_on_a_spot_node_ends_before_the_node_does() -> None:
    """GKE leaves 15 s of the warning to pods that are no part of the system."""
    (container,) = dict(pod_specs(render(read_values("cloud-spot"))))["spot"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert float(environment["PAPLOSS_GRACE_SECONDS"] or 0) < 15


def test_kueue_gets_its_label() -> None:
    jobs = worker_jobs(render(read_values("kueue")))
    assert {job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] for job in jobs} == {"gpus"}
