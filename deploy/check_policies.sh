#!/usr/bin/env bash
# Holds what the chart renders, for its own values and each ready value file, and the Dockerfile against checkov's
# policies.
#   VENV     development environment (.venv)
#   CHECKOV  checkov's program; without it one is installed into a folder of its own, because of its many dependencies
set -euo pipefail
cd "$(dirname "$0")/.."
rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
if [ -z "${CHECKOV:-}" ]; then
  python3 -m venv "$rendered/venv"
  "$rendered/venv/bin/pip" install --quiet checkov
  CHECKOV=$rendered/venv/bin/checkov
fi
mkdir "$rendered/manifests"
PYTHONPATH=tests "${VENV:-.venv}/bin/python" - "$rendered/manifests" << 'PYTHON'
import sys
from pathlib import Path

import yaml
from charts import VALUES, read_values, render, worker_jobs

for name in ("default", *VALUES):
    objects = render(read_values(name))
    for job in worker_jobs(objects):
        pool = job.pop("name")
        objects.append(job | {"metadata": job["metadata"] | {"name": f"worker-{pool}"}})
    (Path(sys.argv[1]) / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
PYTHON
cp Dockerfile "$rendered/manifests"
"$CHECKOV" --config-file deploy/checkov.yaml --directory "$rendered/manifests"
echo "checkov has nothing to say"
