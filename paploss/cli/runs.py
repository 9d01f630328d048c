"""Commands about one search or training request: show, pause, resume, cancel."""

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
from paploss.cli.output import echo_json
from paploss.cli.progress import FINAL_STATES, conclusion, rounds_table
from paploss.cli.terminal import make_console
from paploss.cli.watching import results_table, watch_search, watch_training
from paploss.cli.wording import tell_state
from paploss.client.errors import ApiError
from paploss.client.models import SearchDetail
from paploss.client.sync_client import Client


def show(
    search_id: IdArgument,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """One search with its rounds and its best loss, or one training request with its results."""
    console = make_console(stderr=as_json)
    with connect(state, url, key_file) as client:
        found = _find_search(client, search_id)
        if found is None:
            training = watch_training(client, search_id, console) if watch else client.get_training(search_id)
            if as_json:
                echo_json(training)
            elif not watch:
                console.print(f"{training.id} {training.name}: {training.state} {training.reason}")
                console.print(results_table(training))
            return
        if watch and found.state not in FINAL_STATES:
            found = watch_search(client, search_id, console)
        rounds = [row for row in client.rounds(search_id) if row.closed_at is not None]
        best = client.best(search_id) if found.best_ap is not None else None
    if as_json:
        content = {"search": found, "rounds": rounds, "best": best}
        echo_json(content)
        return
    done = f"{found.trials_final} of {found.trials_planned} trials done"
    console.print(f"{found.id} {found.name}: {found.state}, {found.stage}, {done} {found.reason}")
    console.print(rounds_table(rounds))
    for line in conclusion(best) if best else ():
        console.print(line)


def pause(
    search_id: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Stop starting trials; running ones are preempted and leave a checkpoint."""
    with connect(state, url, key_file) as client:
        tell_state(client.pause(search_id), as_json)


def resume(
    search_id: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Go on after a pause."""
    with connect(state, url, key_file) as client:
        tell_state(client.resume(search_id), as_json)


def cancel(
    search_id: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """End a search and all its open trials, for good."""
    with connect(state, url, key_file) as client:
        tell_state(client.cancel(search_id), as_json)


def _find_search(client: Client, search_id: str) -> SearchDetail | None:
    try:
        return client.get_search(search_id)
    except ApiError as error:
        if error.status != 404:
            raise
        return None
