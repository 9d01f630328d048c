"""A found loss as files that outlive the platform: JSON of its parameters, and a detector config that trains with it.

The JSON holds the loss as `jobs.spec.LossSpec` says, under `loss`; the rest tells where it comes from and what it was
searched with, so that `paploss train FILE` needs no more.
"""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from controller.api.models import Best, SearchDetail
from controller.cli.failures import CommandError
from controller.cli.local_training import TRAINER
from jobs.spec import JobSpec

FORMAT = 1


def describe_best(search: SearchDetail, best: Best) -> dict[str, Any]:
    """The content of the JSON file."""
    spec = search.spec.model_dump(mode="json")
    report = best.report or {}
    return {
        "format": FORMAT,
        "loss": best.loss.model_dump(mode="json", exclude_none=True),
        "search": {"id": search.id, "name": search.name, "state": search.state, "source": best.source},
        "ap": {
            "mean": best.ap,
            "standard_error": report.get("standard_error"),
            "seeds": report.get("count", 1),
            "confirmed": best.confirmed,
            "identity": (report.get("identity") or {}).get("mean"),
        },
        **{name: spec[name] for name in ("profile", "dataset", "weights", "overrides")},
    }


def write_export(content: dict[str, Any], file: Path) -> None:
    """Write the JSON file; its folder is made where it is missing."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise CommandError(f"{file}: cannot write: {error.strerror}") from None


def write_config(search: SearchDetail, best: Best, file: Path) -> str:
    """Write a detector config beside an exported file, by the trainer; returns a line that says where, or why not."""
    spec = search.spec
    if spec.profile == "synthetic":
        return "mmdet config: none, the profile synthetic is no detector"
    config = file.with_suffix(".py")
    job = JobSpec(
        trial_id=search.id,
        kind="final",
        profile=spec.profile,
        schedule="final",
        overrides=spec.overrides.model_copy(update={"epochs": None}),
        dataset=spec.dataset,
        loss=best.loss,
        weights=spec.weights,
        gpus=spec.trial_gpus,
    )
    with tempfile.NamedTemporaryFile("w", suffix=".json") as job_file:
        job_file.write(job.model_dump_json())
        job_file.flush()
        command = [*TRAINER, "config", job_file.name, "--output", str(config)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode == 0:
        return f"mmdet config: {config}"
    reason = (finished.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"mmdet config not written: {reason}"
