"""Which values the chart refuses, with what words, and what it makes of those that are left out."""

import json
from typing import Any

import pytest
import yaml
from charts import CHART, read_values, render
from helm_python.errors import HelmError

from paploss.client.specs import SearchSpec
from paploss.controller.settings import Settings

SET_BY_THE_CHART = {
    *("state_dir", "host", "port", "data_roots", "worker_pools_file", "log_level", "log_format", "start_seconds"),
    "search_resources_namespace",
    *("database_url", "redis_url", "admin_key", "worker_key", "viewer_key", "smtp_url", "oidc_client_secret"),
}
"""Settings of the controller that follow from other values, or are secrets."""


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
        ({"controller": {"settings": {"lease_second": 120}}}, "controller.settings"),
        ({"controller": {"settings": {"lease_seconds": "long"}}}, "controller.settings.lease_seconds"),
        ({"controller": {"settings": {"port": 80}}}, "controller.settings"),
        ({"controller": {"trustedProxies": ["ingress"]}}, "controller.trustedProxies.0"),
        ({"podSecurity": {"runAsUser": 0}}, "podSecurity.runAsUser"),
        ({"data": {"coco": {"mountPath": "data", "hostPath": "/data"}}}, "data.coco.mountPath"),
        ({"data": {"coco": {"mountPath": "/data"}}}, "data.coco"),
        ({"data": {"coco": {"mountPath": "/data", "hostPath": "/a", "existingClaim": "b"}}}, "data.coco"),
        ({"database": {"included": {"enabled": False}}}, "database.existingSecret"),
        ({"redis": {"existingSecret": "mine"}}, "redis.existingSecret"),
        ({"state": {"accessMode": "ReadWriteSometimes"}}, "state.accessMode"),
        ({"route": {"enabled": True}}, "route.parentRefs"),
        ({"replicas": 2}, "replicas"),
        ({"images": {"worker": {"digest": "sha256:12"}}}, "images.worker.digest"),
        ({"logs": {"level": "loud"}}, "logs.level"),
        ({"commonLabels": {"team": "a b"}}, "commonLabels.team"),
        ({"controller": {"startSeconds": -1}}, "controller.startSeconds"),
        ({"keys": {"names": {"user": "a"}}}, "keys.names"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(values: dict[str, Any], path: str) -> None:
    with pytest.raises(HelmError) as refused:
        render(values)
    assert path in str(refused.value).replace("/", ".")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"state": {"size": ""}}, 'state.size: expected a size such as 100Gi, or one of state.existingClaim, .*got ""'),
        (
            {"state": {"nfs": {"server": "files"}}},
            'state.nfs: expected server and path, .*got server "files" and path ""',
        ),
        ({"state": {"nfs": {"path": "/a"}}}, 'state.nfs: expected server and path, .*got server "" and path "/a"'),
        (
            {"state": {"existingClaim": "a", "ephemeral": True}},
            "state: expected at most one .*got existingClaim and eph",
        ),
        (
            {"state": {"nfs": {"server": "files", "path": "/a"}, "hostPath": "/b"}},
            "state: expected at most one of .*, got nfs and hostPath",
        ),
        (
            {"workers": {"pools": {"gpu": {"gpus": 1, "minimum": 5, "maximum": 4}}}},
            "workers.pools.gpu.minimum: expected at most maximum, 4, got 5",
        ),
        (
            {"data": {name: {"mountPath": "/data", "existingClaim": name} for name in ("coco", "weights")}},
            "data.weights.mountPath: /data is the place of data.coco",
        ),
        (
            {"data": {"coco": {"mountPath": "/state", "existingClaim": "coco"}}},
            "data.coco.mountPath: /state is the place of the state volume",
        ),
        ({"ingress": {"enabled": True}}, "controller.trustedProxies: expected .* requests of the ingress come from"),
        (
            {"route": {"enabled": True, "parentRefs": [{"name": "a"}]}},
            "controller.trustedProxies: expected .* requests of the route come from",
        ),
        (
            {"workers": {"podLabels": {"paploss/pool": "a"}}},
            "workers.podLabels: paploss/pool is a label of the chart itself",
        ),
        (
            {"database": {"included": {"podLabels": {"app.kubernetes.io/component": "x"}}}},
            "database.included.podLabels: app.kubernetes.io/component is a label of the chart itself",
        ),
        (
            {"redis": {"included": {"podLabels": {"app.kubernetes.io/name": "x"}}}},
            "redis.included.podLabels: app.kubernetes.io/name is a label of the chart itself",
        ),
        (
            {
                "workers": {"mode": "static", "pools": {"mirror": {"gpus": 1, "replicas": 1}}},
                "mirror": {"mlflow": "http://mlflow:5000"},
            },
            "workers.pools.mirror: this name belongs to the pod that writes to mirror.mlflow",
        ),
        (
            {"serviceMonitor": {"labels": {"app.kubernetes.io/part-of": "x"}}},
            "serviceMonitor.labels: app.kubernetes.io/part-of is a label of the chart itself",
        ),
        ({"test": {"pool": "cpu"}}, 'test.pool: expected one of workers.pools, got "cpu"'),
    ],
)
def test_values_that_do_not_go_together_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmError, match=message):
        render(values)


@pytest.mark.parametrize("release", ["7b", "a.b", f"{'a' * 28}--b"])
def test_a_release_whose_name_no_service_can_have_is_refused(release: str) -> None:
    with pytest.raises(HelmError, match="fullnameOverride: expected a name that a Service can have"):
        render({}, release=release)
    assert render({"fullnameOverride": "demo"}, release=release)


def test_the_settings_are_those_of_the_controller() -> None:
    settings = json.loads((CHART / "values.schema.json").read_text())["properties"]["controller"]["properties"][
        "settings"
    ]
    rules = ("type", "enum", "minimum", "exclusiveMinimum", "maximum")
    known = {
        name: {rule: field[rule] for rule in rules if rule in field}
        for name, field in Settings.model_json_schema()["properties"].items()
        if name not in SET_BY_THE_CHART
    }
    # A list and a map are one text in the environment.
    assert settings["properties"] == {
        name: {"type": "string"} if field["type"] in {"array", "object"} else field for name, field in known.items()
    }
    assert settings["additionalProperties"] is False


@pytest.mark.parametrize(
    ("workers", "gpus"),
    [
        (read_values("kueue")["workers"], 1),
        ({"pools": {"none": {"gpus": 0, "maximum": 1, "resources": {}}}}, 0),
        ({"pools": {"gpu": {"gpus": 1, "maximum": 0}, "more": {"gpus": 4, "maximum": 1}}}, 4),
        ({"pools": {"gpu": {"gpus": 1, "maximum": 0}}}, 1),
        ({"mode": "static", "pools": {"a": {"gpus": 8, "replicas": 1}}}, 8),
        ({"mode": "static"}, 1),
    ],
)
def test_helm_test_takes_the_pool_that_is_cheapest_to_start(workers: dict[str, Any], gpus: int) -> None:
    objects = {(found["kind"], found["metadata"]["name"]): found for found in render({"workers": workers})}
    search = SearchSpec.model_validate(yaml.safe_load(objects["ConfigMap", "demo-test"]["data"]["search.yaml"]))
    assert search.gpus == gpus
    assert (search.profile == "synthetic") == (gpus == 0)  # on GPUs, something that computes on them
