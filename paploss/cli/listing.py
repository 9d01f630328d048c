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
    """All searches and training requests, newest first."""
    with open_session(state, url, key_file) as session:
        runs = [*session.items("searches"), *session.items("trainings")]
    runs.sort(key=lambda run: str(run.get("created_at")), reverse=True)
    if as_json:
        echo_json(runs)
        return
    whole = partial(Column, no_wrap=True)  # an id that is cut short cannot be copied
    columns = (whole("id"), "name", "profile", whole("state"), whole("trials"), whole("AP"), f"created ({TIME_ZONE})")
    table = Table(*columns, box=None)
    for run in runs:
        texts = (str(run.get(name, "")) for name in ("id", "name", "profile", "state"))
        trials = f"{run.get('trials_final')}/{run.get('trials_planned')}"
        table.add_row(*texts, trials, percent(run.get("best_ap")), moment(run.get("created_at")))
    make_console().print(table)
