"""The chart and its ready value files, for the tests of the chart and of what is deployed with it."""

from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm"
VALUES = {path.stem: path for path in sorted((ROOT / "deploy" / "values").glob("*.yaml"))}


def read_values(name: str) -> dict[str, Any]:
    """A ready value file; `default` is the chart's own values."""
    return {} if name == "default" else dict(yaml.safe_load(VALUES[name].read_text()))


def render(values: dict[str, Any], namespace: str = "ml") -> list[dict[str, Any]]:
    """The objects of a release `demo` with these values, hooks included."""
    with Chart.load(CHART) as chart:
        files = chart.render(values, name="demo", namespace=namespace)
    return [
        document
        for name, text in files.items()
        if name.endswith(".yaml")
        for document in yaml.load_all(text, yaml.CSafeLoader)
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
