"""`paploss export`: a found loss as files."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

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
from paploss.cli.exports import describe_best, write_config, write_export, write_module
from paploss.cli.failures import CommandError
from paploss.cli.output import echo, echo_json
from paploss.client.models import Best, ExperimentDetail
from paploss.jobs.frameworks import Framework


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
                    write_export(describe_best(found, best), file)
                case ExportFormat.MMDET:
                    write_config(found, best, file)
                case ExportFormat.TORCH:
                    write_module(found, best, file, framework)
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
