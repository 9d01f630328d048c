"""`paploss export`: a found loss as files that outlive the platform: JSON of its parameters, a detector config that
trains with it, and a Python module that needs torch alone.

The JSON holds the loss as `paploss.jobs.losses.LossSpec` says, under `loss`; the rest tells where it comes from and
what it was searched with, so that `paploss train FILE` needs no more.
"""

import json
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from paploss.cli.connection import (
    DEFAULT_STATE,
    IdArgument,
    JsonOption,
    KeyFileOption,
    StateOption,
    UrlOption,
    connect,
)
from paploss.cli.extras import require
from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.local_training import call_trainer
from paploss.cli.output import echo, echo_json
from paploss.client.documents import SPEC
from paploss.client.models import Best, ExperimentDetail
from paploss.client.numbers import confirmed
from paploss.files import write_whole
from paploss.jobs.frameworks import Framework
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import JobSpec

FORMAT = 1
"""Of the JSON file."""

_CONDITIONS = ("profile", "dataset", "weights", "overrides", "reward", "gpus", "gather_scores")
"""What of a request decides how its loss trains: another number of GPUs is another training."""


class ExportFormat(StrEnum):
    """Formats of an exported loss."""

    JSON = "json"
    MMDET = "mmdet"
    TORCH = "torch"


def export(
    experiment_id: IdArgument,
    *,
    formats: Annotated[
        list[ExportFormat] | None,
        typer.Option(
            "--format",
            help="json: the parameters; mmdet: a config that trains with them; torch: a module that needs torch alone. "
            "Repeatable (default: all that can be written here).",
        ),
    ] = None,
    framework: Annotated[
        Framework | None,
        typer.Option(
            "--for",
            help="Write the module in the form that this framework takes: its loss function or head (implies --format "
            "torch; default: torch, for any training loop).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "--out",
            help="File for the parameters, the others beside it; with one --format, its file "
            "(default: in STATE/exports).",
        ),
    ] = None,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Write the best loss: as JSON, as a ready mmdet config, and as a standalone PyTorch module."""
    if framework and formats and ExportFormat.TORCH not in formats:
        raise CommandError(f"--for {framework} is a form of the PyTorch module: add --format torch", BAD_INPUT)
    with connect(state, url, key_file) as client:
        found, best = client.get_experiment(experiment_id), client.best(experiment_id)
    formats = formats or ([ExportFormat.TORCH] if framework else None)
    files = export_files(out or default_file(state, experiment_id))
    if formats and len(formats) == 1 and out:
        files[formats[0]] = out
    written, refused = write_files(found, best, files, formats or list(ExportFormat), framework or "torch")
    if formats and refused:
        raise CommandError("\n".join(f"{name}: {reason}" for name, reason in refused.items()))
    if as_json:
        echo_json({"files": {name: str(file) for name, file in written.items()}, "not_written": refused})
        return
    for line in describe_files(written, refused):
        echo(line)


def default_file(state: Path, experiment_id: str) -> Path:
    """Where the parameters of a search go unless told otherwise."""
    return state / "exports" / f"{experiment_id}.json"


def export_files(file: Path) -> dict[ExportFormat, Path]:
    """The files of an export whose parameters are in `file`."""
    return {
        ExportFormat.JSON: file,
        ExportFormat.MMDET: file.with_suffix(".py"),
        ExportFormat.TORCH: file.with_name(f"{file.stem}_loss.py"),
    }


def write_files(
    found: ExperimentDetail,
    best: Best,
    files: dict[ExportFormat, Path],
    formats: Sequence[ExportFormat],
    framework: Framework = "torch",
) -> tuple[dict[ExportFormat, Path], dict[ExportFormat, str]]:
    """Write the best loss in some formats.

    Returns:
        The files that were written, and for each that could not be, why.

    Raises:
        CommandError: the folder cannot be written to.
    """
    written: dict[ExportFormat, Path] = {}
    refused: dict[ExportFormat, str] = {}
    for name in formats:
        file = files[name]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            match name:
                case ExportFormat.JSON:
                    write_whole(file, json.dumps(describe_best(found, best), indent=2) + "\n")
                case ExportFormat.MMDET:
                    _write_config(found, best, file)
                case ExportFormat.TORCH:
                    _write_module(found, best, file, framework)
        except OSError as error:
            raise CommandError(f"{file}: cannot write: {error.strerror}") from None
        except CommandError as error:
            refused[name] = str(error)
        else:
            written[name] = file
    return written, refused


def describe_files(written: dict[ExportFormat, Path], refused: dict[ExportFormat, str]) -> list[str]:
    """What was written, in lines for people."""
    titles = {
        ExportFormat.JSON: "parameters",
        ExportFormat.MMDET: "mmdet config",
        ExportFormat.TORCH: "PyTorch module",
    }
    lines = [f"{titles[name]}: {file}" for name, file in written.items()]
    return lines + [f"{titles[name]} not written: {reason}" for name, reason in refused.items()]


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
        **{name: spec[name] for name in _CONDITIONS},
    }


def _write_config(search: ExperimentDetail, best: Best, file: Path) -> None:
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


def _write_module(search: ExperimentDetail, best: Best, file: Path, framework: Framework) -> None:
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
        call_trainer([command, source.name, "--output", str(file), *options], is_quiet=True)
