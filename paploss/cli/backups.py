"""Backup and restore of a search: `paploss dump`, `paploss load`."""

import json
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
from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.progress import tell_state

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The file; by convention ID.jsonl.gz.")]


def dump(
    experiment_id: IdArgument,
    file: FileArgument,
    *,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Write a search with its rounds, trials, attempts, results and log to a file; needs an administrator's key."""
    with connect(state, url, key_file) as client:
        content = client.dump(experiment_id)
    beside = file.with_name(f".{file.name}.part")
    try:
        beside.write_bytes(content)
        beside.replace(file)  # an older backup is replaced by a whole one only
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise CommandError(f"{file}: {error.strerror}", BAD_INPUT) from None
    told = {"file": str(file), "bytes": len(content)}
    typer.echo(json.dumps(told) if as_json else f"{file}: {len(content)} bytes")


def load(
    file: FileArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Store the search of a file, on SQLite or PostgreSQL whichever it came from; needs an administrator's key."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", BAD_INPUT) from None
    with connect(state, url, key_file) as client:
        tell_state(client.load(content), as_json)
