"""Write the kustomize base: the chart, rendered for a site that brings its own Secrets, PostgreSQL and Redis.

Run it in the development environment after the chart has changed: `python deploy/make_kustomize.py`. Elastic workers'
settings are one document within a ConfigMap, which kustomize cannot patch field by field, so the base has static ones.
"""

from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / "deploy" / "kustomize" / "base" / "paploss.yaml"
VALUES: dict[str, Any] = {
    "keys": {"existingSecret": "paploss-keys"},
    "database": {"existingSecret": "paploss-database", "included": {"enabled": False}},
    "redis": {"existingSecret": "paploss-redis", "included": {"enabled": False}},
    "migrations": {"enabled": False},
    "state": {"existingClaim": "paploss-state"},
    "data": {"sets": {"mountPath": "/data", "existingClaim": "paploss-data"}},
    "workers": {"mode": "static"},
}
HEADER = "# Made by deploy/make_kustomize.py from the chart in helm/.\n"


def render() -> str:
    """The base's text: every object of the release but hooks, without a namespace and without Helm's own labels."""
    with Chart.load(ROOT / "helm") as chart:
        files = chart.render(VALUES, name="paploss", namespace="NAMESPACE")
    texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml") and "/tests/" not in name]
    objects = [found for text in texts for found in yaml.safe_load_all(text) if found]
    for manifest in objects:
        manifest["metadata"].pop("namespace")
        for labels in (manifest["metadata"]["labels"], _template_labels(manifest)):
            labels.pop("helm.sh/chart", None)
            labels.pop("app.kubernetes.io/managed-by", None)
    return HEADER + yaml.safe_dump_all(objects, sort_keys=False)


def _template_labels(manifest: dict[str, Any]) -> dict[str, str]:
    labels: dict[str, str] = manifest.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
    return labels


if __name__ == "__main__":
    BASE.write_text(render())
