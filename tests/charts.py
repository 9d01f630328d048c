"""The chart and its ready value files, for the tests of the chart and of what is deployed with it."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm"
REDIS_CONFIGURATION = ["requirepass secret", 'save ""', "appendonly no", "dir /tmp"]
"""Of the queue, whose password is `secret`: nothing is kept."""
VALUES = {path.stem: path for path in sorted((ROOT / "deploy" / "values").glob("*.yaml"))}
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
"""Values of tests, beside the ready ones."""
ALL = ["default", *VALUES, *CASES]
"""Names that `values_of` takes."""


def read_values(name: str) -> dict[str, Any]:
    """A ready value file; `default` is the chart's own values."""
    return {} if name == "default" else dict(yaml.safe_load(VALUES[name].read_text()))


class _Loader(yaml.CSafeLoader):
    """Refuses a mapping that has a name twice, as YAML does, and some who apply manifests."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """As the base class does, once names are known to differ."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        assert len(set(names)) == len(names), f"twice in one mapping: {sorted(names)}{node.start_mark}"
        return super().construct_mapping(node, deep)


def render(values: dict[str, Any], namespace: str = "ml", release: str = "demo") -> list[dict[str, Any]]:
    """The objects of a release with these values, hooks included."""
    with Chart.load(CHART) as chart:
        files = chart.render(values, name=release, namespace=namespace)
    return [
        document
        for name, text in files.items()
        if name.endswith(".yaml")
        for document in yaml.load_all(text, _Loader)
        if document
    ]


def worker_jobs(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The manifests that elastic workers are made from."""
    files = [found["data"]["pools.yaml"] for found in objects if "pools.yaml" in found.get("data", {})]
    pools = [pool for file in files for pool in yaml.load(file, yaml.CSafeLoader)["pools"]]
    return [pool["job"] | {"name": pool["name"]} for pool in pools]


def pod_specs(objects: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Every pod spec with the name of what holds it, those of elastic workers included."""
    found = [(job["name"], job["spec"]["template"]["spec"]) for job in worker_jobs(objects)]
    for manifest in objects:
        if manifest["kind"] == "Pod":
            found.append((manifest["metadata"]["name"], manifest["spec"]))
        elif "template" in manifest.get("spec", {}):
            found.append((manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]))
    return found


def values_of(name: str) -> dict[str, Any]:
    """A case of ALL."""
    return CASES[name] if name in CASES else read_values(name)


def objects_of(kind: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of one kind that a release has with these values."""
    return [found for found in render(values) if found["kind"] == kind]


def controllers_environment(values: dict[str, Any]) -> dict[str, str]:
    """The environment variables of the controller."""
    (container,) = dict(pod_specs(render(values)))["demo"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def start_redis(command: Sequence[str], folder: Path, **environment: str) -> list[str]:
    """The lines that a container's command gives Redis by standard input, with no argument beside.

    A program stands for the server, which takes the place of the shell: else no signal would reach it.
    """
    server = folder / "redis-server"
    server.write_text(f'#!/bin/sh\ncat > {folder}/configuration\necho "$$ $*" > {folder}/started\n')
    server.chmod(0o755)
    started = subprocess.Popen(command, env={"PATH": f"{folder}:{os.environ['PATH']}"} | environment)
    assert started.wait(30) == 0
    assert (folder / "started").read_text() == f"{started.pid} -\n"
    return (folder / "configuration").read_text().splitlines()
