"""`paploss annotate`: notes, tags and the archive."""

from typing import Annotated

import typer
from pydantic import ValidationError

from paploss.cli.connection import (
    DEFAULT_STATE,
    JsonOption,
    KeyFileOption,
    StateOption,
    UrlOption,
    complete_ids,
    connect,
)
from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.output import echo, echo_json
from paploss.client.models import ExperimentDetail, TrialDetail
from paploss.client.sync_client import Client
from paploss.jobs.faults import describe_faults


def annotate(
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="Ids of experiments or trials.", autocompletion=complete_ids),
    ],
    *,
    note: Annotated[str | None, typer.Option(help="The note, in Markdown; an empty one removes it.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag to add; may be repeated.")] = None,
    untag: Annotated[list[str] | None, typer.Option(help="A tag to remove; may be repeated.")] = None,
    archive: Annotated[
        bool | None, typer.Option("--archive/--unarchive", help="Hide an experiment that has ended from lists, or not.")
    ] = None,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Add a note and tags to experiments or trials, or hide experiments from lists."""
    if archive is not None and any(map(_is_trial, ids)):
        raise CommandError("--archive: expected ids of experiments alone, trials cannot be archived", BAD_INPUT)
    changed, added, removed = [], set(tag or ()), {name.lower() for name in untag or ()}
    with connect(state, url, key_file) as client:
        for each in ids:
            try:
                changed.append(_change(client, each, note=note, added=added, removed=removed, archive=archive))
            except ValidationError as error:
                raise CommandError(describe_faults(error), BAD_INPUT) from None
    if as_json:
        echo_json(changed)
        return
    for found in changed:
        is_archived = isinstance(found, ExperimentDetail) and found.archived
        echo(f"{found.id}: {' '.join(found.tags) or 'no tags'}{', archived' if is_archived else ''}")


def _is_trial(given: str) -> bool:
    return "-" in given


def _change(
    client: Client, given: str, *, note: str | None, added: set[str], removed: set[str], archive: bool | None
) -> ExperimentDetail | TrialDetail:
    is_trial = _is_trial(given)
    tags = None
    if added or removed:
        found = client.get_trial(given) if is_trial else client.get_experiment(given)
        tags = sorted({*found.tags, *added} - removed)
    if is_trial:
        return client.annotate_trial(given, note=note, tags=tags)
    return client.annotate(given, note=note, tags=tags, archived=archive)
