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
from paploss.cli.exports import describe_best
from paploss.cli.failures import FAILED, INTERRUPTED, CommandError
from paploss.cli.own_platform import DataRootOption, DetachOption, use_platform
from paploss.cli.progress import FINAL_STATES, conclusion, next_command, percent, rounds_table, tell_state
from paploss.cli.results import ExportFormat, default_file, describe_files, export_files, write_files
from paploss.cli.service_commands import PortOption, WorkersOption
from paploss.cli.specifications import read_search
from paploss.cli.watching import has_spec, results_table, watch_search, watch_trainings
from paploss.client.models import ExperimentDetail
from paploss.client.specs import SearchSpec
from paploss.client.sync_client import Client

SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="What to search; see examples/.")]


def search(
    spec_file: SpecArgument,
    *,
    data_root: DataRootOption = None,
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
    with use_platform(spec, console, state, url, key_file, workers=workers, port=port, detach=detach) as (
        client,
        keep_up,
    ):
        # On a platform that stays, the same command again means another search.
        unfinished = _find_unfinished(client, spec) if keep_up else None
        experiment_id = unfinished or client.create(spec).id
        if detach:
            typer.echo(json.dumps({"id": experiment_id}) if as_json else experiment_id)
            return
        console.print(f"search {experiment_id}{' goes on' if unfinished else ''}", markup=False)
        try:
            found = watch_search(client, experiment_id, console, keep_up)
        except KeyboardInterrupt:
            if keep_up is None:
                follow = next_command("show", experiment_id, "--watch")
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
    """All experiments, newest first."""
    with connect(state, url, key_file) as client:
        found = list(client.list_experiments())
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found]))
        return
    whole = partial(Column, no_wrap=True)  # an id that is cut short is of no use
    table = Table(
        whole("id"), whole("kind"), "name", "profile", whole("state"), whole("trials"), whole("AP"), "created", box=None
    )
    for each in found:
        trials = f"{each.trials_final}/{each.trials_planned}"
        created = f"{each.created_at:%Y-%m-%d %H:%M}"
        ap = percent(each.best_ap)
        table.add_row(each.id, each.kind, each.name, each.profile, each.state, trials, ap, created)
    Console(highlight=False).print(table)


def show(
    experiment_id: IdArgument,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """One search with its rounds and its best loss, or one comparison or training with its results."""
    console = Console(stderr=as_json, highlight=False)
    with connect(state, url, key_file) as client:
        found = client.get_experiment(experiment_id)
        if found.kind != "search":
            if watch:
                found = watch_trainings(client, experiment_id, console)
            if as_json:
                typer.echo(found.model_dump_json())
            elif not watch:
                console.print(f"{found.id} {found.name}: {found.state} {found.reason}", markup=False)
                console.print(results_table(found))
            return
        if watch and found.state not in FINAL_STATES:
            found = watch_search(client, experiment_id, console)
        rounds = [row for row in client.rounds(experiment_id) if row.closed_at is not None]
        best = client.best(experiment_id) if found.best_ap is not None else None
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
    experiment_id: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Stop starting trials; running ones leave a checkpoint."""
    with connect(state, url, key_file) as client:
        tell_state(client.pause(experiment_id), as_json)


def resume(
    experiment_id: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Go on after a pause."""
    with connect(state, url, key_file) as client:
        tell_state(client.resume(experiment_id), as_json)


def cancel(
    experiment_id: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """End an experiment and all its open trials, for good."""
    with connect(state, url, key_file) as client:
        tell_state(client.cancel(experiment_id), as_json)


def _find_unfinished(client: Client, spec: SearchSpec) -> str | None:
    """A search of this very specification that was interrupted, going on again."""
    for summary in client.list_experiments("search"):
        if summary.state in FINAL_STATES or not has_spec(client, summary, spec):
            continue
        if summary.state == "paused":
            client.resume(summary.id)
        return summary.id
    return None


def _conclude(client: Client, found: ExperimentDetail, console: Console, state: Path, as_json: bool) -> None:
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
