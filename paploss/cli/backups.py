"""Backup and restore of a search: `paploss dump`, `paploss load`."""

from pathlib import Path
from typing import Annotated

import typer

from paploss.cli.connection import (
    DEFAULT_STATE,
    IdArgument,
    JsonOption,
    KeyFileOption,
    ProjectOption,
    StateOption,
    UrlOption,
    connect,
)
from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.output import tell
from paploss.cli.wording import tell_state
from paploss.files import write_whole

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
    """Write a search with its rounds, trials, results and log to a file; needs an administrator's key."""
    with connect(state, url, key_file) as client:
        content = client.dump(experiment_id)
    try:
        write_whole(file, content)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", BAD_INPUT) from None
    told = {"file": str(file), "bytes": len(content)}
    tell(as_json, told, f"{file}: {len(content)} bytes")


def load(
    file: FileArgument,
    *,
    project: ProjectOption = None,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Restore the search of a file, whether it comes from SQLite or PostgreSQL; needs an administrator's key."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", BAD_INPUT) from None
    with connect(state, url, key_file) as client:
        tell_state(client.load(content, project=project), as_json)
