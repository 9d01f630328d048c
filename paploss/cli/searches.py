"""Commands around searches: start one and watch it, list, show, pause, resume, cancel."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from paploss.cli.connection import (
    DEFAULT_STATE,
    IdArgument,
    JsonOption,
    KeyFileOption,
    StateOption,
    UrlOption,
    connect,
)
from paploss.cli.dataset_checks import NoCheckOption, check_first, without_checks
from paploss.cli.exports import describe_best
from paploss.cli.failures import FAILED, INTERRUPTED, CommandError
from paploss.cli.own_platform import DataRootOption, DetachOption, use_platform
from paploss.cli.progress import FINAL_STATES, conclusion, next_command, percent, rounds_table, tell_state
from paploss.cli.results import ExportFormat, default_file, describe_files, export_files, write_files
from paploss.cli.service_commands import PortOption, WorkersOption
from paploss.cli.specifications import read_search
from paploss.cli.watching import results_table, watch_search, watch_training
from paploss.client.models import SearchDetail
from paploss.client.specs import SearchSpec
from paploss.client.sync_client import ApiError, Client

SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="What to search; see examples/.")]


def search(
    spec_file: SpecArgument,
    *,
    data_root: DataRootOption = None,
    no_check: NoCheckOption = False,
    detach: DetachOption = False,
    workers: WorkersOption = None,
    port: PortOption = None,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Search a loss: on a running platform if there is one, else on one that lives as long as this command.

    Interrupted on its own platform, the same command goes on where it was.
    """
    spec = read_search(spec_file, data_root)
    console = Console(stderr=as_json, highlight=False)
    if no_check:
        spec = spec.model_copy(update={"dataset": without_checks(spec.dataset)})
    if url is None:
        check_first(spec, console)
    with use_platform(spec, console, state, url, key_file, workers=workers, port=port, detach=detach) as (
        client,
        keep_up,
    ):
        # On a platform that stays, the same command again means another search.
        unfinished = _find_unfinished(client, spec) if keep_up else None
        search_id = unfinished or client.create_search(spec).id
        if detach:
            typer.echo(json.dumps({"id": search_id}) if as_json else search_id)
            return
        console.print(f"search {search_id}{' goes on' if unfinished else ''}", markup=False)
        try:
            found = watch_search(client, search_id, console, keep_up)
        except KeyboardInterrupt:
            if keep_up is None:
                follow = next_command("show", search_id, "--watch")
                raise CommandError(f"the search goes on: {follow}", INTERRUPTED) from None
            console.print("running trials leave a checkpoint ...")
            raise CommandError("interrupted; the same command goes on", INTERRUPTED) from None
        _conclude(client, found, console, state, as_json)


def list_all(
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """All searches and training requests, newest first."""
    with connect(state, url, key_file) as client:
        runs = [*client.list_searches(), *client.list_trainings()]
    if as_json:
        typer.echo(json.dumps([run.model_dump(mode="json") for run in runs]))
        return
    whole = partial(Column, no_wrap=True)  # an id that is cut short is of no use
    table = Table(whole("id"), "name", "profile", whole("state"), whole("trials"), whole("AP"), "created", box=None)
    for run in sorted(runs, key=lambda run: run.created_at, reverse=True):
        trials = f"{run.trials_final}/{run.trials_planned}"
        created = f"{run.created_at:%Y-%m-%d %H:%M}"
        table.add_row(run.id, run.name, run.profile, run.state, trials, percent(run.best_ap), created)
    Console(highlight=False).print(table)


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
    console = Console(stderr=as_json, highlight=False)
    with connect(state, url, key_file) as client:
        found = _find_search(client, search_id)
        if found is None:
            training = watch_training(client, search_id, console) if watch else client.get_training(search_id)
            if as_json:
                typer.echo(training.model_dump_json())
            elif not watch:
                console.print(f"{training.id} {training.name}: {training.state} {training.reason}", markup=False)
                console.print(results_table(training))
            return
        if watch and found.state not in FINAL_STATES:
            found = watch_search(client, search_id, console)
        rounds = [row for row in client.rounds(search_id) if row.closed_at is not None]
        best = client.best(search_id) if found.best_ap is not None else None
    if as_json:
        content = {"search": found, "rounds": rounds, "best": best}
        typer.echo(json.dumps(content, default=lambda model: model.model_dump(mode="json")))
        return
    done = f"{found.trials_final} of {found.trials_planned} trials done"
    console.print(f"{found.id} {found.name}: {found.state}, {found.stage}, {done} {found.reason}", markup=False)
    console.print(rounds_table(rounds))
    for line in conclusion(best) if best else ():
        console.print(line, markup=False)


def pause(
    search_id: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Stop starting trials; running ones hand back with a checkpoint."""
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


def _find_unfinished(client: Client, spec: SearchSpec) -> str | None:
    """A search of this very specification that was interrupted, going on again."""
    for summary in client.list_searches():
        if summary.state in FINAL_STATES or client.get_search(summary.id).spec != spec:
            continue
        if summary.state == "paused":
            client.resume(summary.id)
        return summary.id
    return None


def _find_search(client: Client, search_id: str) -> SearchDetail | None:
    try:
        return client.get_search(search_id)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


def _conclude(client: Client, found: SearchDetail, console: Console, state: Path, as_json: bool) -> None:
    if found.state != "succeeded":
        raise CommandError(f"search {found.id} {found.state}: {found.reason}", FAILED)
    best = client.best(found.id)
    files = export_files(default_file(state, found.id))
    written, refused = write_files(found, best, files, list(ExportFormat))
    file = str(files[ExportFormat.JSON])
    if as_json:
        typer.echo(json.dumps(describe_best(found, best) | {"file": file}))
        return
    console.print()
    console.print("\n".join(conclusion(best)), style="bold", markup=False)
    for line in describe_files(written, refused):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"next: {next_command('train', file)}", markup=False, soft_wrap=True)
