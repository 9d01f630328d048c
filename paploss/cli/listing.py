"""`paploss list`: it is the command that is typed most, and imports little.

It needs no models, so a controller of another version can be listed too.
"""

from functools import partial

from rich.table import Column, Table

from paploss.cli.connection import DEFAULT_STATE, JsonOption, KeyFileOption, StateOption, UrlOption, open_session
from paploss.cli.output import echo_json
from paploss.cli.terminal import make_console
from paploss.cli.wording import TIME_ZONE, moment, percent


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
    columns = (
        whole("id"),
        whole("kind"),
        "name",
        "profile",
        whole("state"),
        whole("trials"),
        whole("best"),
        f"created ({TIME_ZONE})",
    )
    table = Table(*columns, box=None)
    for each in found:
        texts = (str(each.get(name, "")) for name in ("id", "kind", "name", "profile", "state"))
        trials = f"{each.get('trials_final')}/{each.get('trials_planned')}"
        table.add_row(
            *texts, trials, f"{percent(each.get('best_ap'))} {each.get('metric', 'AP')}", moment(each.get("created_at"))
        )
    make_console().print(table)
