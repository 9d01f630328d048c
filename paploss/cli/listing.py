"""`paploss list`: it is the command that is typed most, and imports little.

It needs no models, so a controller of another version can be listed too.
"""

from functools import partial

from rich.table import Column, Table

from paploss.cli.connection import DEFAULT_STATE, JsonOption, KeyFileOption, StateOption, UrlOption, open_session
from paploss.cli.output import echo_json
from paploss.cli.terminal import make_console
from paploss.cli.wording import TIME_ZONE, moment, percent

_WIDE = 110
"""Columns of a terminal from which kind and profile have room too."""


def list_all(
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """All experiments, newest first."""
    with open_session(state, url, key_file) as session:
        found = list(session.items("experiments"))
    if as_json:
        echo_json(found)
        return
    whole = partial(Column, no_wrap=True)  # an id that is cut short cannot be copied
    console = make_console()
    is_wide = console.width >= _WIDE
    fields = ("id", "kind", "name", "profile", "state") if is_wide else ("id", "name", "state")
    columns = [name if name in ("name", "profile") else whole(name) for name in fields]
    table = Table(*columns, whole("trials"), whole("best"), whole(f"created ({TIME_ZONE})"), box=None)
    for each in found:
        texts = (str(each.get(name, "")) for name in fields)
        trials = f"{each.get('trials_final')}/{each.get('trials_planned')}"
        best = f"{percent(each.get('best_ap'))} {each.get('metric', 'AP')}"
        table.add_row(*texts, trials, best, moment(each.get("created_at")))
    console.print(table)
