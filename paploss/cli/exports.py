"""A found loss as files that outlive the platform: JSON of its parameters, a detector config that trains with it, and a
Python module that needs torch alone.

The JSON holds the loss as `paploss.jobs.losses.LossSpec` says, under `loss`; the rest tells where it comes from and
what it was searched with, so that `paploss train FILE` needs no more.
"""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from paploss.cli.extras import require
from paploss.cli.failures import CommandError
from paploss.cli.local_training import TRAINER
from paploss.client.documents import SPEC
from paploss.client.models import Best, ExperimentDetail
from paploss.client.numbers import confirmed
from paploss.files import write_whole
from paploss.jobs.frameworks import Framework
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import JobSpec

FORMAT = 1


def describe_best(search: ExperimentDetail, best: Best) -> dict[str, Any]:
    """The content of the JSON file."""
    spec = SPEC.read(search.spec).model_dump(mode="json")
    report = best.report or {}
    return {
        "format": FORMAT,
        "loss": best.loss.model_dump(mode="json", exclude_none=True),
        "learning_rate_factor": best.learning_rate_factor,
        "search": {"id": search.id, "name": search.name, "state": search.state, "source": best.source},
        "ap": {
            "metric": best.metric,
            "mean": best.ap,
            "standard_error": report.get("standard_error"),
            "seeds": report.get("count", 1),
            "confirmed": best.confirmed,
            "identity": (report.get("identity") or {}).get("mean"),
        },
        "verdict": report.get("verdict"),
        **{name: spec[name] for name in ("profile", "dataset", "weights", "overrides", "reward")},
    }


def write_export(content: dict[str, Any], file: Path) -> None:
    """Write the JSON file."""
    write_whole(file, json.dumps(content, indent=2) + "\n")


def write_config(search: ExperimentDetail, best: Best, file: Path) -> None:
    """Write a configuration for mmdet's own tools, by the trainer.

    Raises:
        CommandError: the profile is no detector, or the trainer refuses, e.g. because it finds no data set here.
    """
    spec = SPEC.read(search.spec)
    if PROFILES[spec.profile].detector is None:
        raise CommandError(f"the profile {spec.profile} is no detector")
    job = JobSpec(
        trial_id=search.id,
        kind="final",
        profile=spec.profile,
        schedule="final",
        overrides=spec.overrides.model_copy(update={"epochs": None}),
        dataset=spec.dataset,
        loss=best.loss,
        learning_rate_factor=best.learning_rate_factor,
        weights=spec.weights,
        gpus=spec.trial_gpus,
        gather_scores=spec.gather_scores,
    )
    _have_written("config", job.model_dump_json(), file)


def write_module(search: ExperimentDetail, best: Best, file: Path, framework: Framework) -> None:
    """Write a Python module with the loss that needs torch and the framework alone, by the trainer.

    Raises:
        CommandError: the trainer refuses, or is not installed here.
    """
    report = best.report or {}
    count = report.get("count", 1)
    seeds = f", mean ± standard deviation over {count} seeds" if count > 1 else ""
    measured = f"{confirmed({'mean': best.ap, **report})} {best.metric} on its validation split{seeds}"
    origin = f"Found by search {search.id} {search.name!r} with {search.profile}: {measured}."
    if best.learning_rate_factor != 1:
        origin += f" Trained with {best.learning_rate_factor:.4g} times the search's learning rate."
    content = json.dumps({"loss": best.loss.model_dump(mode="json")})
    _have_written("module", content, file, "--origin", origin, "--for", framework)


def _have_written(command: str, content: str, file: Path, *options: str) -> None:
    require("this file", "trainer")
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as source:
        source.write(content)
        source.flush()
        arguments = [*TRAINER, command, source.name, "--output", str(file), *options]
        finished = subprocess.run(arguments, capture_output=True, check=False)
    if finished.returncode:
        said = finished.stderr.decode(errors="replace").strip()
        raise CommandError((said.splitlines() or ["no reason given"])[-1])
