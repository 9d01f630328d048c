"""What the chart renders, by the real Helm library; what a cluster makes of it is in test_release.py."""

import base64
import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from charts import CHART, ROOT, VALUES, pod_specs, read_values, render, worker_jobs
from helm_python import Chart, lint
from kubernetes_validate import SchemaNotFoundError, ValidationError, validate

from paploss.controller.scaling.pools import Pools
from paploss.controller.search_resources.resources import GROUP, PLURAL, VERSION

IDENTITY = [{"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}]}, {"ports": [{"port": 443}]}]
"""What workers with a cloud identity reach beside the release: a metadata server, and the cloud's services."""
CASES: dict[str, dict[str, Any]] = {
    "static": {"workers": {"mode": "static"}},
    "everything": {
        "controller": {"replicas": 3, "settings": {"lease_seconds": 120}, "trustedProxies": ["10.0.0.0/8", "fd00::/8"]},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
        "route": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["paploss.example.org"]},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True},
        "commonLabels": {"team": "vision"},
        "global": {"imageRegistry": "registry.internal/", "imagePullSecrets": ["global"]},
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: as-text}\n",
        ],
        "searchResources": {"enabled": True},
        "mirror": {
            "mlflow": "http://mlflow:5000",
            "tensorboard": {"existingClaim": "runs"},
            "existingSecret": "mlflow",
        },
        "networkPolicy": {"from": [{"namespaceSelector": {}}], "workerEgress": IDENTITY},
        "images": {"pullSecrets": ["registry"]},
        "migrations": {"enabled": False},
        "state": {"ephemeral": True},
    },
}
APP_VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
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
        check_once(json.dumps(manifest, sort_keys=True), version)


@cache  # cached: each look reads the schemas of all kinds anew, and most objects are the same in all value files
def check_once(manifest: str, version: str) -> None:
    validate(json.loads(manifest), version, strict=True)


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


@pytest.mark.parametrize("kind", ["ServiceMonitor", "HTTPRoute", "PrometheusRule"])
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


@pytest.mark.parametrize("name", VALUES)
def test_a_ready_value_file_names_the_images_that_the_manual_pushes(name: str) -> None:
    manual = (ROOT / "docs" / "cluster.md").read_text()
    pushed = set(re.findall(r"docker push REGISTRY/(\S+)", manual))
    specs = [spec for _, spec in pod_specs(render(read_values(name)))]
    images = [container["image"] for spec in specs for container in spec["containers"]]
    assert {image.partition("/")[2] for image in images if "paploss" in image} == pushed
    assert {image.partition(":")[2] for image in pushed} == {APP_VERSION}


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


def test_a_worker_on_a_spot_node_ends_before_the_node_does() -> None:
    """GKE leaves 15 s of the warning to pods that are no part of the system."""
    (container,) = dict(pod_specs(render(read_values("cloud-spot"))))["spot"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert float(environment["PAPLOSS_GRACE_SECONDS"] or 0) < 15


def test_workers_get_no_rights_and_the_controller_those_on_jobs_and_pods() -> None:
    (role,) = (found for found in objects_of("Role", {}) if found["metadata"]["name"] == "demo-controller")
    assert {(kind, verb) for rule in role["rules"] for kind in rule["resources"] for verb in rule["verbs"]} == {
        ("jobs", "list"),
        ("jobs", "create"),
        ("jobs", "delete"),
        ("pods", "list"),
        ("pods", "delete"),
        ("events", "list"),
        ("configmaps", "get"),
    }
    bindings = {found["metadata"]["name"]: found["subjects"] for found in objects_of("RoleBinding", {})}
    assert [subject["name"] for subject in bindings["demo-controller"]] == ["demo-controller"]
    assert [found["metadata"]["name"] for found in objects_of("Role", CASES["static"])] == ["demo-test"]


def test_the_tests_pod_may_do_to_itself_what_setting_its_owner_takes_and_nothing_to_others() -> None:
    """Where OwnerReferencesPermissionEnforcement is on, as on OpenShift, that takes the right to delete it."""
    (role,) = (found for found in objects_of("Role", {}) if found["metadata"]["name"] == "demo-test")
    rights = {
        (kind, name, verb)
        for rule in role["rules"]
        for kind in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
    assert rights == {
        ("pods", "", "list"),
        ("events", "", "list"),
        ("configmaps", "demo-test", "get"),
        ("pods", "demo-test", "patch"),
        ("pods", "demo-test", "delete"),
    }


def test_search_resources_add_the_rights_to_list_and_patch_them_in_the_releases_namespace() -> None:
    values = CASES["static"] | {"searchResources": {"enabled": True}}
    (role,) = (found for found in objects_of("Role", values) if found["metadata"]["name"] == "demo-controller")
    assert {(tuple(rule["apiGroups"]), *rule["resources"], *rule["verbs"]) for rule in role["rules"]} == {
        (("paploss.dev",), "searches", "list", "patch"),
        (("paploss.dev",), "searches/status", "patch"),
    }
    assert not objects_of("ClusterRole", values)
    assert controllers_environment(values)["PAPLOSS_SEARCH_RESOURCES_NAMESPACE"] == "ml"
    assert dict(pod_specs(render(values)))["demo"]["automountServiceAccountToken"]
    assert not dict(pod_specs(render(CASES["static"])))["demo"]["automountServiceAccountToken"]


def test_the_definition_of_searches_outlives_the_release_and_may_be_anothers() -> None:
    assert not objects_of("CustomResourceDefinition", {})
    (definition,) = objects_of("CustomResourceDefinition", {"searchResources": {"enabled": True}})
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    names, (version,) = definition["spec"]["names"], definition["spec"]["versions"]
    assert (definition["spec"]["group"], version["name"], names["plural"]) == (GROUP, VERSION, PLURAL)
    assert not objects_of("CustomResourceDefinition", {"searchResources": {"enabled": True, "definition": False}})


def test_with_secrets_of_the_operator_none_is_generated() -> None:
    values = read_values("cloud-spot") | {"keys": {"existingSecret": "keys"}}
    assert not objects_of("Secret", values)
    assert not objects_of("StatefulSet", values)


def test_passwords_of_the_included_servers_may_be_the_operators() -> None:
    values = read_values("air-gapped")
    assert not objects_of("Secret", values)
    assert secret_files(values, "demo-postgresql")["password"] == ("paploss-database", "database-password", False)
    assert secret_files(values, "demo-redis")["password"] == ("paploss-redis", "redis-password", False)
    of_controller = secret_files(values, "demo")
    assert of_controller["paploss_database_url"][:2] == ("paploss-database", "database-url")
    assert of_controller["paploss_redis_url"][:2] == ("paploss-redis", "redis-url")


def test_the_databases_address_is_one_that_pg_dump_takes() -> None:
    (secret,) = objects_of("Secret", {})
    address = base64.b64decode(secret["data"]["database-url"]).decode()
    password = base64.b64decode(secret["data"]["database-password"]).decode()
    assert address == f"postgresql://paploss:{password}@demo-postgresql:5432/paploss"


def test_redis_takes_the_place_of_its_shell_and_gets_its_password(tmp_path: Path) -> None:
    """Otherwise the shell is the container's first process, and no signal reaches Redis."""
    (shell, option, script) = dict(pod_specs(render({})))["demo-redis"]["containers"][0]["command"]
    (tmp_path / "password").write_text("secret")
    server = tmp_path / "redis-server"
    server.write_text(f"#!/bin/sh\ncat > {tmp_path}/configuration\necho $$ > {tmp_path}/pid\n")
    server.chmod(0o755)
    script = script.replace("/run/secrets/paploss/password", str(tmp_path / "password"))
    started = subprocess.Popen([shell, option, script], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert started.wait(30) == 0
    assert int((tmp_path / "pid").read_text()) == started.pid
    lines = (tmp_path / "configuration").read_text().splitlines()
    assert lines == ["requirepass secret", 'save ""', "appendonly no", "dir /tmp"]


def test_kueue_gets_its_label() -> None:
    jobs = worker_jobs(render(read_values("kueue")))
    assert {job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] for job in jobs} == {"gpus"}


def test_volumes_that_pods_may_not_name_become_volumes_of_the_cluster() -> None:
    volumes = {
        found["metadata"]["name"]: found["spec"] for found in objects_of("PersistentVolume", read_values("air-gapped"))
    }
    assert volumes["ml-demo-data-coco"]["nfs"] == {"server": "files.internal", "path": "/exports/coco"}
    assert volumes["ml-demo-state"]["accessModes"] == ["ReadWriteMany"]


def test_the_file_for_one_node_says_what_it_claims_of_the_default_storage_class() -> None:
    head = VALUES["single-node"].read_text().partition("helm install")[0]
    objects = render(read_values("single-node"))
    claims = [found["spec"] for found in objects if found["kind"] == "PersistentVolumeClaim"]
    claims += [claim["spec"] for found in objects for claim in found.get("spec", {}).get("volumeClaimTemplates", [])]
    (claim,) = [claim for claim in claims if "storageClassName" not in claim]
    assert f"{claim['resources']['requests']['storage']} of the default StorageClass" in head


def test_prometheus_has_a_viewers_key_that_the_controller_installs() -> None:
    (monitor,) = objects_of("ServiceMonitor", CASES["everything"])
    (endpoint,) = monitor["spec"]["endpoints"]
    credentials = endpoint["authorization"]["credentials"]
    assert (endpoint["port"], endpoint["path"], credentials["key"]) == ("http", "/metrics", "viewer-key")
    assert secret_files(CASES["everything"], "demo")["paploss_viewer_key"] == (credentials["name"], "viewer-key", False)
    assert "paploss_viewer_key" not in secret_files({"keys": {"existingSecret": "mine"}}, "demo")


@pytest.mark.parametrize(
    ("values", "targets", "volumes"),
    [
        ({"mlflow": "https://mlflow.example.org"}, ["--mlflow=https://mlflow.example.org"], {"tmp", "secrets"}),
        ({"tensorboard": {"existingClaim": "runs"}}, ["--tensorboard=/runs"], {"tmp", "secrets", "runs"}),
    ],
)
def test_the_mirror_is_one_pod_that_has_the_viewers_key_alone(
    values: dict[str, Any], targets: list[str], volumes: set[str]
) -> None:
    objects = render(
        {"mirror": values | {"existingSecret": "mlflow"}, "networkPolicy": {"from": [{"podSelector": {}}]}}
    )
    (mirror,) = [
        found for found in objects if found["kind"] == "Deployment" and found["metadata"]["name"] == "demo-mirror"
    ]
    assert (mirror["spec"]["replicas"], mirror["spec"]["strategy"]) == (1, {"type": "Recreate"})
    spec = mirror["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    key = "/run/secrets/paploss/paploss_viewer_key"
    assert container["args"] == ["mirror", "--follow", "--url=http://demo:8080", f"--key-file={key}", *targets]
    assert container["envFrom"] == [{"secretRef": {"name": "mlflow"}}]
    assert {volume["name"] for volume in spec["volumes"]} == volumes
    (secrets,) = [volume["projected"]["sources"] for volume in spec["volumes"] if "projected" in volume]
    assert [source["secret"]["items"] for source in secrets] == [[{"key": "viewer-key", "path": "paploss_viewer_key"}]]
    assert spec["automountServiceAccountToken"] is False
    labels = mirror["spec"]["template"]["metadata"]["labels"]
    policies = {found["metadata"]["name"]: found["spec"] for found in objects if found["kind"] == "NetworkPolicy"}
    assert "ingress" not in policies["demo-mirror"]
    admitted = [
        peer["podSelector"].get("matchLabels", {}) for peer in policies["demo-controller"]["ingress"][0]["from"]
    ]
    assert any(wanted and wanted.items() <= labels.items() for wanted in admitted)


def test_there_is_no_mirror_until_it_is_said_where_to_write() -> None:
    assert not [found for found in render({}) if found["metadata"]["name"].endswith("mirror")]


def test_the_controllers_image_holds_what_the_mirror_needs() -> None:
    held = (ROOT / "deploy" / "requirements" / "controller.txt").read_text().splitlines()
    assert {"mlflow-skinny", "tensorboardX"} <= {line.partition("==")[0] for line in held}


def test_the_test_pod_starts_without_secrets_so_that_it_can_name_them() -> None:
    of_test, of_controller = (secret_files({}, holder) for holder in ("demo-test", "demo"))
    for file in ("paploss_admin_key", "paploss_database_url", "paploss_redis_url"):
        assert of_test[file] == (*of_controller[file][:2], True)
        assert not of_controller[file][2]


def controllers_environment(values: dict[str, Any]) -> dict[str, str]:
    (container,) = dict(pod_specs(render(values)))["demo"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_settings_reach_the_controller_as_they_were_written() -> None:
    settings = {"max_body_bytes": 10_000_000, "tick_seconds": 0.25, "keep_details_days": 180}
    environment = controllers_environment({"controller": {"settings": settings}})
    assert {name: environment[f"PAPLOSS_{name.upper()}"] for name in settings} == {
        "max_body_bytes": "10000000",
        "tick_seconds": "0.25",
        "keep_details_days": "180",
    }


def test_the_controller_believes_the_proxies_that_are_named() -> None:
    assert controllers_environment(CASES["everything"])["FORWARDED_ALLOW_IPS"] == "10.0.0.0/8,fd00::/8"
    assert "FORWARDED_ALLOW_IPS" not in controllers_environment({})


def test_several_controllers_are_spread_over_nodes() -> None:
    (constraint,) = dict(pod_specs(render(CASES["everything"])))["demo"]["topologySpreadConstraints"]
    (deployment,) = (found for found in objects_of("Deployment", {}) if found["metadata"]["name"] == "demo")
    assert constraint["labelSelector"] == deployment["spec"]["selector"]
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert "topologySpreadConstraints" not in deployment["spec"]["template"]["spec"]


def test_labels_of_the_operator_are_on_every_object_and_in_no_selector() -> None:
    for found in render(CASES["everything"]):
        if not found["metadata"]["name"].endswith(("extra", "as-text")):
            assert found["metadata"]["labels"]["team"] == "vision", found["metadata"]["name"]
        assert "team" not in str(found.get("spec", {}).get("selector")), found["metadata"]["name"]
    (job,) = worker_jobs(render(CASES["everything"]))
    assert job["metadata"]["labels"]["team"] == job["spec"]["template"]["metadata"]["labels"]["team"] == "vision"


def pod_labels(values: dict[str, Any], name: str) -> dict[str, str]:
    (found,) = (found for found in render(values) if found["metadata"]["name"] == name and "template" in found["spec"])
    labels: dict[str, str] = found["spec"]["template"]["metadata"]["labels"]
    return labels


def test_pods_have_labels_of_their_own() -> None:
    labels = {"podLabels": {"sidecar": "yes"}}
    values = {"controller": labels, "workers": labels | {"mode": "static"}, "database": {"included": labels}}
    for name in ("demo", "demo-gpu", "demo-postgresql", "demo-migrate"):
        assert pod_labels(values, name)["sidecar"] == "yes", name
    assert "sidecar" not in pod_labels(values, "demo-redis")


def test_images_come_from_one_registry_and_may_be_fixed_by_digest() -> None:
    digest = f"sha256:{'0' * 64}"
    values = CASES["everything"] | {"images": {"worker": {"digest": digest}, "pullSecrets": ["own"]}}
    specs = dict(pod_specs(render(values)))
    assert specs["demo"]["containers"][0]["image"] == f"registry.internal/paploss-controller:{APP_VERSION}"
    assert specs["gpu"]["containers"][0]["image"] == f"registry.internal/paploss-worker:{APP_VERSION}@{digest}"
    assert specs["demo-redis"]["containers"][0]["image"] == "registry.internal/redis:7.4-bookworm"
    assert [secret["name"] for secret in specs["gpu"]["imagePullSecrets"]] == ["own", "global"]


def test_the_included_servers_have_nodes_of_their_own() -> None:
    placement = {"nodeSelector": {"disk": "ssd"}, "priorityClassName": "high", "tolerations": [{"operator": "Exists"}]}
    specs = dict(pod_specs(render({"database": {"included": placement}, "redis": {"included": placement}})))
    for name in ("demo-postgresql", "demo-redis"):
        assert {key: specs[name][key] for key in placement} == placement


def test_keys_may_be_called_otherwise_in_secrets_of_the_operator() -> None:
    values = read_values("cloud-spot") | {
        "keys": {"existingSecret": "keys", "names": {"admin": "root", "worker": "gpu"}},
        "database": {"existingSecret": "cnpg-app", "existingSecretKey": "uri", "included": {"enabled": False}},
        "redis": {"existingSecret": "valkey", "existingSecretKey": "url", "included": {"enabled": False}},
    }
    for holder in ("demo", "demo-test"):
        files = secret_files(values, holder)
        assert files["paploss_database_url"][:2] == ("cnpg-app", "uri")
        assert files["paploss_redis_url"][:2] == ("valkey", "url")
        assert files["paploss_admin_key"][:2] == ("keys", "root")
    assert secret_files(values, "spot")["paploss_key"][:2] == ("keys", "gpu")
    assert secret_files(values, "spot")["paploss_redis_url"][:2] == ("valkey", "url")
    assert secret_files(values, "demo-migrate")["paploss_database_url"][:2] == ("cnpg-app", "uri")


def test_every_process_logs_as_it_is_told() -> None:
    specs = dict(pod_specs(render({"logs": {"level": "debug", "format": "text"}})))
    for name in ("demo", "gpu", "demo-migrate", "demo-test"):
        environment = {entry["name"]: entry.get("value") for entry in specs[name]["containers"][0]["env"]}
        assert (environment["PAPLOSS_LOG_LEVEL"], environment["PAPLOSS_LOG_FORMAT"]) == ("debug", "text"), name


def test_fields_of_probes_lifecycle_and_init_containers_are_the_operators() -> None:
    init = [{"name": "wait", "image": "busybox"}]
    given = {"initContainers": init, "readinessProbe": {"timeoutSeconds": 30}, "lifecycle": {"preStop": None}}
    specs = dict(pod_specs(render({"controller": given, "workers": given | {"mode": "static"}})))
    assert specs["demo"]["initContainers"] == specs["demo-gpu"]["initContainers"] == init
    probe = specs["demo"]["containers"][0]["readinessProbe"]
    assert probe == {"httpGet": {"path": "/readyz", "port": "http"}, "timeoutSeconds": 30}
    assert specs["demo-gpu"]["containers"][0]["readinessProbe"]["timeoutSeconds"] == 30
    assert "preStop" not in specs["demo"]["containers"][0].get("lifecycle", {})
    assert "preStop" in dict(pod_specs(render({})))["demo"]["containers"][0]["lifecycle"]


def test_alerts_and_dashboard_are_those_of_the_folder() -> None:
    (rule,) = objects_of("PrometheusRule", CASES["everything"])
    assert rule["spec"] == yaml.safe_load((CHART / "monitoring" / "alerts.yaml").read_text())
    boards = [
        found for found in objects_of("ConfigMap", CASES["everything"]) if "paploss.json" in found.get("data", {})
    ]
    assert [json.loads(found["data"]["paploss.json"]) for found in boards] == [
        json.loads((CHART / "monitoring" / "dashboard.json").read_text())
    ]
    assert boards[0]["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_objects_of_the_operator_are_rendered_whether_mapping_or_text() -> None:
    names = {found["metadata"]["name"] for found in objects_of("ConfigMap", CASES["everything"])}
    assert {"demo-extra", "as-text"} <= names


def test_the_startup_probe_waits_as_long_as_the_controller() -> None:
    probe = dict(pod_specs(render({"controller": {"startSeconds": 1000}})))["demo"]["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 1000


def test_the_test_is_one_hook_so_that_its_log_is_printed_once() -> None:
    hooks = [
        found for found in render({}) if "test" in found["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    ]
    assert [found["kind"] for found in hooks] == ["Pod"]


@pytest.mark.parametrize(("state", "told"), [({}, True), ({"existingClaim": "a"}, False), ({"ephemeral": True}, False)])
def test_the_notes_say_what_the_state_volume_asks_for(state: dict[str, Any], told: bool) -> None:
    with Chart.load(CHART) as chart:
        notes = chart.render({"state": state}, name="demo", namespace="ml")["paploss/templates/NOTES.txt"]
    assert ("for ReadWriteMany" in notes) == told


def test_the_migration_has_the_controllers_account() -> None:
    specs = dict(pod_specs(render({})))
    assert specs["demo-migrate"]["serviceAccountName"] == specs["demo"]["serviceAccountName"]


def test_the_user_of_pods_is_the_sites_choice() -> None:
    ids = {"runAsUser": 1000680000, "runAsGroup": 0, "fsGroup": None}
    specs = dict(pod_specs(render({"podSecurity": ids})))
    for name in ("demo", "gpu", "demo-migrate", "demo-test"):
        security = specs[name]["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (1000680000, 0)
        assert "fsGroup" not in security
    assert specs["demo-postgresql"]["securityContext"]["runAsUser"] == 999


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ({}, "localhost:8080 while this runs"),
        ({"ingress": {"enabled": True, "host": "a.example", "tlsSecret": "tls"}}, "https://a.example\n"),
        ({"ingress": {"enabled": True, "host": "a.example"}}, "  http://a.example\n"),
        (
            {"route": {"enabled": True, "parentRefs": [{"name": "a"}], "hostnames": ["b.example"]}},
            "https://b.example\n",
        ),
    ],
)
def test_the_notes_say_where_the_page_is(values: dict[str, Any], address: str) -> None:
    with Chart.load(CHART) as chart:
        files = chart.render(values | {"controller": {"trustedProxies": ["10.0.0.0/8"]}}, name="demo", namespace="ml")
    notes = files["paploss/templates/NOTES.txt"]
    assert address in notes
    assert """-o go-template='{{index .data "admin-key" | base64decode}}{{"\\n"}}'""" in notes


def secret_files(values: dict[str, Any], holder: str) -> dict[str, tuple[str, str, bool]]:
    """Secret, key, and whether the pod can do without it, by file in the folder of secrets."""
    spec = dict(pod_specs(render(values)))[holder]
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "secrets")
    return {
        item["path"]: (source["secret"]["name"], item["key"], source["secret"].get("optional", False))
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
