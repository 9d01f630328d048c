"""`paploss list`: it is the command that is typed most, and imports little.

It needs no models, so a controller of another version can be listed too.
"""

from functools import partial
from typing import Annotated

import typer
from rich.table import Column, Table

from paploss.cli.connection import DEFAULT_STATE, JsonOption, KeyFileOption, StateOption, UrlOption, open_session
from paploss.cli.output import echo_json
from paploss.cli.terminal import make_console
from paploss.cli.wording import TIME_ZONE, moment
from paploss.client.numbers import percent

_WIDE = 110
"""Columns of a terminal from which kind and profile have room too."""


def list_all(
    *,
    text: Annotated[str | None, typer.Option(help="In the id, the name, a tag or the note.")] = None,
    kind: Annotated[str | None, typer.Option(help="search, comparison or training.")] = None,
    with_state: Annotated[str | None, typer.Option(help="running, paused, succeeded, failed or cancelled.")] = None,
    tag: Annotated[str | None, typer.Option(help="With this tag.")] = None,
    profile: Annotated[str | None, typer.Option(help="With this profile.")] = None,
    dataset: Annotated[str | None, typer.Option(help="With a data set of this name.")] = None,
    owner: Annotated[str | None, typer.Option(help="Of this key.")] = None,
    project: Annotated[str | None, typer.Option(help="Of this project, for keys that are for all.")] = None,
    archived: Annotated[str, typer.Option(help="no, only or all: whether to list what is archived.")] = "no",
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Experiments, newest first; archived ones are left out."""
    asked = {"text": text, "kind": kind, "state": with_state, "tag": tag, "profile": profile, "dataset": dataset}
    with open_session(state, url, key_file) as session:
        found = list(session.items("experiments", **asked, owner=owner, project=project, archived=archived))
    if as_json:
        echo_json(found)
        return
    whole = partial(Column, no_wrap=True)  # an id that is cut short cannot be copied
    console = make_console()
    is_wide = console.width >= _WIDE
    fields = ("id", "kind", "name", "tags", "profile", "state") if is_wide else ("id", "name", "state")
    columns = [name if name in ("name", "profile", "tags") else whole(name) for name in fields]
    table = Table(*columns, whole("trials"), whole("best"), whole(f"created ({TIME_ZONE})"), box=None)
    for each in found:
        each["tags"] = " ".join(each.get("tags") or ())
        texts = (str(each.get(name, "")) for name in fields)
        trials = f"{each.get('trials_final')}/{each.get('trials_planned')}"
        best = percent(each.get("best_ap"))
        best += "" if each.get("best_ap") is None else f" {each.get('metric', 'AP')}"
        table.add_row(*texts, trials, best, moment(each.get("created_at")))
    console.print(table)
