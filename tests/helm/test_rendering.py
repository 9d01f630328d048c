"""What the chart renders, by the real Helm library; what a cluster makes of it is in test_release.py."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from charts import (
    ALL,
    CASES,
    CHART,
    ROOT,
    VALUES,
    controllers_environment,
    objects_of,
    pod_specs,
    read_values,
    render,
    values_of,
    worker_jobs,
)
from helm_python import Chart, lint
from kubernetes_validate import SchemaNotFoundError, ValidationError, validate

from paploss.controller.search_resources.resources import GROUP, PLURAL, VERSION

APP_VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
CUSTOM = {file.stem: json.loads(file.read_text()) for file in Path(__file__).with_name("schemas").glob("*.json")}
"""Schemas of kinds of other projects, which no version of Kubernetes itself describes."""
VERSIONS = ["1.29", "1.32", "1.37"]


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


@pytest.mark.parametrize("name", VALUES)
def test_a_ready_value_file_names_the_images_that_the_manual_pushes(name: str) -> None:
    manual = (ROOT / "docs" / "cluster.md").read_text()
    pushed = set(re.findall(r"docker push REGISTRY/(\S+)", manual))
    specs = [spec for _, spec in pod_specs(render(read_values(name)))]
    images = [container["image"] for spec in specs for container in spec["containers"]]
    assert {image.partition("/")[2] for image in images if "paploss" in image} == pushed
    assert {image.partition(":")[2] for image in pushed} == {APP_VERSION}


def test_the_definition_of_searches_outlives_the_release_and_may_be_anothers() -> None:
    assert not objects_of("CustomResourceDefinition", {})
    (definition,) = objects_of("CustomResourceDefinition", {"searchResources": {"enabled": True}})
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    names, (version,) = definition["spec"]["names"], definition["spec"]["versions"]
    assert (definition["spec"]["group"], version["name"], names["plural"]) == (GROUP, VERSION, PLURAL)
    assert not objects_of("CustomResourceDefinition", {"searchResources": {"enabled": True, "definition": False}})


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


def test_there_is_no_mirror_until_it_is_said_where_to_write() -> None:
    assert not [found for found in render({}) if found["metadata"]["name"].endswith("mirror")]


def test_the_controllers_image_holds_what_the_mirror_needs() -> None:
    held = (ROOT / "deploy" / "requirements" / "controller.txt").read_text().splitlines()
    assert {"mlflow-skinny", "tensorboardX"} <= {line.partition("==")[0] for line in held}


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


def test_labels_of_their_own_replace_the_common_ones() -> None:
    values = {"commonLabels": {"team": "vision"}, "controller": {"podLabels": {"team": "site"}}}
    assert pod_labels(values, "demo")["team"] == "site"
    values = {"commonLabels": {"release": "a"}, "serviceMonitor": {"enabled": True, "labels": {"release": "b"}}}
    (monitor,) = objects_of("ServiceMonitor", values)
    assert monitor["metadata"]["labels"]["release"] == "b"


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
