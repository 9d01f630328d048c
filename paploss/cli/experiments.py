"""Commands about one experiment: show, pause, resume, cancel."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from paploss.cli.connection import (
    DEFAULT_STATE,
    IdArgument,
    JsonOption,
    KeyFileOption,
    StateOption,
    UrlOption,
    connect,
    watch_over,
)
from paploss.cli.failures import FAILED, CommandError
from paploss.cli.output import echo_json
from paploss.cli.progress import conclusion, rounds_table
from paploss.cli.terminal import make_console
from paploss.cli.watching import results_table, watch_search, watch_trainings
from paploss.cli.wording import describe_end, tell_state
from paploss.client.models import Best, ExperimentDetail, RoundSummary
from paploss.client.states import FINAL_EXPERIMENT_STATES


def show(
    experiment_id: IdArgument,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow it until it has ended; exit status 1 if it failed or was cancelled.")
    ] = False,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """One search with its rounds and its best loss, or one comparison or training with its results."""
    console = make_console(stderr=as_json)
    with connect(state, url, key_file) as client:
        found = client.get_experiment(experiment_id)
        if found.kind != "search":
            if watch:
                found = watch_trainings(client, experiment_id, console, watch_over(state, url))
            if as_json:
                echo_json(found)
            elif not watch:
                console.print(f"{found.id} {found.name}: {found.state}")
                _tell_reason(found, console)
                _tell_annotation(found, console)
                console.print(results_table(found))
                if found.kind == "comparison" and found.state == "succeeded":
                    verdict = client.comparison(experiment_id).verdict
                    console.print(verdict.sentence if verdict else "")
            return
        if watch and found.state not in FINAL_EXPERIMENT_STATES:
            found = watch_search(client, experiment_id, console, watch_over(state, url))
        rounds = [row for row in client.rounds(experiment_id) if row.closed_at is not None]
        best = client.best(experiment_id) if found.best_ap is not None else None
    if as_json:
        content = {"search": found, "rounds": rounds, "best": best}
        echo_json(content)
    else:
        _tell_search(found, rounds, best, console)
    if watch and found.state in ("failed", "cancelled"):
        raise CommandError(describe_end(found), FAILED)


def _tell_search(found: ExperimentDetail, rounds: Sequence[RoundSummary], best: Best | None, console: Console) -> None:
    done = f"{found.trials_final} of {found.trials_planned} trials done"
    stage = "" if found.state in FINAL_EXPERIMENT_STATES else f", {found.stage}"
    console.print(f"{found.id} {found.name}: {found.state}{stage}, {done}")
    _tell_reason(found, console)
    _tell_annotation(found, console)
    if found.lengths:
        trained = ", ".join(f"{row.succeeded} of length {row.length:g}" for row in found.lengths)
        console.print(f"trainings that have ended: {trained}")
    console.print(rounds_table(rounds, found.metric))
    for line in conclusion(best) if best else ():
        console.print(line)


def _tell_reason(found: ExperimentDetail, console: Console) -> None:
    if found.reason:
        console.print(found.reason)


def _tell_annotation(found: ExperimentDetail, console: Console) -> None:
    if found.tags or found.archived:
        console.print(f"tags: {' '.join(found.tags) or 'none'}{', archived' if found.archived else ''}")
    if found.note:
        console.print(found.note)


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
