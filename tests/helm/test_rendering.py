"""What the chart renders, by the real Helm library; what a cluster makes of it is in test_release.py."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from charts import CHART, ROOT, VALUES, pod_specs, read_values, render, worker_jobs
from helm_python import lint
from helm_python.errors import HelmError
from kubernetes_validate import SchemaNotFoundError, ValidationError, validate

from controller.scaling.pools import Pools

CASES: dict[str, dict[str, Any]] = {
    "static": {"workers": {"mode": "static"}},
    "everything": {
        "controller": {"replicas": 3, "settings": {"lease_seconds": 120}},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
        "route": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["paploss.example.org"]},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "networkPolicy": {"from": [{"namespaceSelector": {}}]},
        "images": {"pullSecrets": ["registry"]},
        "migrations": {"enabled": False},
        "state": {"ephemeral": True},
    },
}
ALL = ["default", *VALUES, *CASES]
CUSTOM = {file.stem: json.loads(file.read_text()) for file in Path(__file__).with_name("schemas").glob("*.json")}
"""Schemas of kinds of other projects, which no version of Kubernetes itself describes."""
VERSIONS = ["1.29", "1.32", "1.37"]


def values_of(name: str) -> dict[str, Any]:
    return CASES[name] if name in CASES else read_values(name)


def objects_of(kind: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return [found for found in render(values) if found["kind"] == kind]


def check(manifest: dict[str, Any], version: str) -> None:
    """Holds an object against the schema of its kind; a kind that has none is refused."""
    if manifest["kind"] in CUSTOM:
        jsonschema.validate(manifest, CUSTOM[manifest["kind"]])
    else:
        validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ALL)
def test_every_object_is_valid(name: str, version: str) -> None:
    objects = render(values_of(name))
    jobs = [job | {"metadata": job["metadata"] | {"name": job.pop("name")}} for job in worker_jobs(objects)]
    for manifest in (*objects, *jobs):
        check(manifest, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_kustomize_base_and_the_queues_are_valid(version: str) -> None:
    for file in ("kustomize/base/paploss.yaml", "kueue/queues.yaml"):
        for manifest in yaml.safe_load_all((ROOT / "deploy" / file).read_text()):
            check(manifest, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kind_or_a_field_that_nobody_knows_is_refused(version: str) -> None:
    with pytest.raises(SchemaNotFoundError):
        check({"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "a"}}, version)
    with pytest.raises(ValidationError):
        check({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "datas": {}}, version)


@pytest.mark.parametrize("kind", ["ServiceMonitor", "HTTPRoute"])
def test_a_wrong_field_of_another_projects_kind_is_refused(kind: str) -> None:
    (manifest,) = objects_of(kind, CASES["everything"])
    check(manifest, "1.37")
    with pytest.raises(jsonschema.ValidationError):
        check(manifest | {"spec": manifest["spec"] | {"endpoint": []}}, "1.37")


def test_the_queues_admit_the_workers_that_name_them() -> None:
    queues = list(yaml.safe_load_all((ROOT / "deploy" / "kueue" / "queues.yaml").read_text()))
    (local,) = [found for found in queues if found["kind"] == "LocalQueue"]
    assert local["metadata"]["name"] == read_values("kueue")["workers"]["kueue"]["queueName"]
    (cluster,) = [found for found in queues if found["kind"] == "ClusterQueue"]
    covered = set(cluster["spec"]["resourceGroups"][0]["coveredResources"])
    for job in worker_jobs(render(read_values("kueue"))):
        resources = job["spec"]["template"]["spec"]["containers"][0]["resources"]
        assert {*resources["requests"], *resources["limits"]} <= covered


@pytest.mark.parametrize("name", ALL)
def test_every_pod_meets_the_restricted_standard(name: str) -> None:
    specs = pod_specs(render(values_of(name)))
    assert specs
    for holder, spec in specs:
        assert spec["securityContext"]["runAsNonRoot"], holder
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, holder
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), holder
        allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected"}
        assert {key for volume in spec["volumes"] for key in volume} - {"name"} <= allowed, holder
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"], holder
            assert security["allowPrivilegeEscalation"] is False, holder
            assert security["capabilities"] == {"drop": ["ALL"]}, holder
            assert container["resources"]["requests"], holder
            assert container["resources"]["limits"]["memory"], holder
        # Kubernetes would otherwise set PAPLOSS_PORT to an address in a release that is called paploss.
        assert spec["enableServiceLinks"] is False, holder


def test_lint_is_content() -> None:
    found = lint(CHART, {}, strict=True)
    assert not found["errors"]
    assert not [message for message in found["messages"] if message["severity"] > 1]  # 1 is advice


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"workers": {"mode": "sometimes"}}, "workers.mode"),
        ({"workers": {"gpuResource": "gpu"}}, "workers.gpuResource"),
        ({"workers": {"pools": {"gpu": {"gpus": -1}}}}, "workers.pools.gpu.gpus"),
        ({"workers": {"pools": {"gpu": {"gpu": 1}}}}, "workers.pools.gpu"),
        ({"workers": {"pools": {"GPU": {"gpus": 1, "maximum": 1, "resources": {}}}}}, "workers.pools"),
        ({"workers": {"mode": "static", "pools": {"a": {"gpus": 1, "resources": {}}}}}, "replicas"),
        ({"controller": {"replicas": 0}}, "controller.replicas"),
        ({"controller": {"resource": {}}}, "controller"),
        ({"data": {"coco": {"mountPath": "data", "hostPath": "/data"}}}, "data.coco.mountPath"),
        ({"data": {"coco": {"mountPath": "/data"}}}, "data.coco"),
        ({"data": {"coco": {"mountPath": "/data", "hostPath": "/a", "existingClaim": "b"}}}, "data.coco"),
        ({"database": {"included": {"enabled": False}}}, "database.existingSecret"),
        ({"redis": {"existingSecret": "mine"}}, "redis.existingSecret"),
        ({"state": {"accessMode": "ReadWriteSometimes"}}, "state.accessMode"),
        ({"route": {"enabled": True}}, "route.parentRefs"),
        ({"replicas": 2}, "replicas"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(values: dict[str, Any], path: str) -> None:
    with pytest.raises(HelmError) as refused:
        render(values)
    assert path in str(refused.value).replace("/", ".")


def test_a_test_of_an_unknown_pool_is_refused() -> None:
    with pytest.raises(HelmError, match=r"test\.pool: expected one of workers\.pools, got cpu"):
        render({"test": {"pool": "cpu"}})


@pytest.mark.parametrize("name", ALL)
def test_the_controller_can_read_its_pools(name: str) -> None:
    files = [found["data"]["pools.yaml"] for found in render(values_of(name)) if "pools.yaml" in found.get("data", {})]
    elastic = values_of(name).get("workers", {}).get("mode", "elastic") == "elastic"
    assert len(files) == int(elastic)
    for file in files:
        assert Pools.model_validate(yaml.safe_load(file)).namespace == "ml"


def test_a_worker_asks_for_its_gpus_by_the_name_of_the_cluster() -> None:
    pools = {
        "mig": {"gpus": 2, "maximum": 1, "resources": {}, "gpuResource": "nvidia.com/mig-1g.10gb"},
        "none": {"gpus": 0, "maximum": 1, "resources": {}},
    }
    workers = {"gpuResource": "amd.com/gpu", "pools": pools}
    specs = dict(pod_specs(render({"workers": workers})))
    limits = {name: specs[name]["containers"][0]["resources"].get("limits", {}) for name in ("gpu", "mig", "none")}
    assert limits["gpu"]["amd.com/gpu"] == "1"
    assert limits["mig"] == {"nvidia.com/mig-1g.10gb": "2"}
    assert not limits["none"]


def test_a_pool_may_have_nodes_of_its_own() -> None:
    pools = {"gpu": {"nodeSelector": {"gpu": "a100"}}, "more": {"gpus": 1, "maximum": 1, "resources": {}}}
    specs = dict(pod_specs(render({"workers": {"nodeSelector": {"gpu": "any"}, "pools": pools}})))
    assert specs["gpu"]["nodeSelector"] == {"gpu": "a100"}
    assert specs["more"]["nodeSelector"] == {"gpu": "any"}


def test_a_worker_has_time_for_its_checkpoint() -> None:
    specs = dict(pod_specs(render({"workers": {"graceSeconds": 300}})))
    environment = {entry["name"]: entry.get("value") for entry in specs["gpu"]["containers"][0]["env"]}
    assert specs["gpu"]["terminationGracePeriodSeconds"] > float(environment["PAPLOSS_GRACE_SECONDS"] or 0) == 300


def test_workers_get_no_rights_and_the_controller_those_on_jobs_and_pods() -> None:
    (role,) = objects_of("Role", {})
    assert {(kind, verb) for rule in role["rules"] for kind in rule["resources"] for verb in rule["verbs"]} == {
        ("jobs", "list"),
        ("jobs", "create"),
        ("jobs", "delete"),
        ("pods", "list"),
        ("pods", "delete"),
        ("configmaps", "get"),
    }
    (binding,) = objects_of("RoleBinding", {})
    assert [subject["name"] for subject in binding["subjects"]] == ["demo-controller"]
    assert not objects_of("Role", CASES["static"])


def test_with_secrets_of_the_operator_none_is_generated() -> None:
    values = read_values("cloud-spot") | {"keys": {"existingSecret": "keys"}}
    assert not objects_of("Secret", values)
    assert not objects_of("StatefulSet", values)


def test_kueue_gets_its_label() -> None:
    jobs = worker_jobs(render(read_values("kueue")))
    assert {job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] for job in jobs} == {"gpus"}


def test_volumes_that_pods_may_not_name_become_volumes_of_the_cluster() -> None:
    volumes = {
        found["metadata"]["name"]: found["spec"] for found in objects_of("PersistentVolume", read_values("air-gapped"))
    }
    assert volumes["ml-demo-data-coco"]["nfs"] == {"server": "files.internal", "path": "/exports/coco"}
    assert volumes["ml-demo-state"]["accessModes"] == ["ReadWriteMany"]


def test_prometheus_has_a_viewers_key_that_the_controller_installs() -> None:
    (monitor,) = objects_of("ServiceMonitor", CASES["everything"])
    (endpoint,) = monitor["spec"]["endpoints"]
    credentials = endpoint["authorization"]["credentials"]
    assert (endpoint["port"], endpoint["path"], credentials["key"]) == ("http", "/metrics", "viewer-key")
    assert secret_files(CASES["everything"], "demo")["paploss_viewer_key"] == (credentials["name"], "viewer-key", False)
    assert "paploss_viewer_key" not in secret_files({"keys": {"existingSecret": "mine"}}, "demo")


def test_the_test_pod_starts_without_secrets_so_that_it_can_name_them() -> None:
    of_test, of_controller = (secret_files({}, holder) for holder in ("demo-test", "demo"))
    for file in ("paploss_admin_key", "paploss_database_url", "paploss_redis_url"):
        assert of_test[file] == (*of_controller[file][:2], True)
        assert not of_controller[file][2]


def secret_files(values: dict[str, Any], holder: str) -> dict[str, tuple[str, str, bool]]:
    """Secret, key, and whether the pod can do without it, by file in the folder of secrets."""
    spec = dict(pod_specs(render(values)))[holder]
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "secrets")
    return {
        item["path"]: (source["secret"]["name"], item["key"], source["secret"].get("optional", False))
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
