"""Following a search or a training request until it has ended."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from paploss.cli.failures import FAILED, CommandError
from paploss.cli.progress import FINAL_STATES, SearchProgress
from paploss.cli.wording import percent
from paploss.client.errors import ClientError, is_passing
from paploss.client.models import Run, SearchDetail, TrainingDetail
from paploss.client.sync_client import Client

RunType = TypeVar("RunType", bound=Run)

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 120.0
"""A controller that restarts is waited for."""


KeepUp = Callable[[], list[str]]
"""Starts again what has ended of a platform of one's own; returns the names. Called at every look."""


def watch_search(client: Client, search_id: str, console: Console, keep_up: KeepUp | None = None) -> SearchDetail:
    """Show a search until it has ended.

    Raises:
        UnreachableError, ApiError: the controller stays away, or refuses.
    """
    with SearchProgress(console) as progress:

        def look() -> SearchDetail:
            search = client.get_search(search_id)
            rounds = list(client.rounds(search_id))
            running = list(client.trials(search_id, state="running"))
            progress.update(search, rounds, running)
            return search

        return follow(look, progress.say, keep_up)


def follow(look: Callable[[], RunType], say: Callable[[str], None], keep_up: KeepUp | None = None) -> RunType:
    """Look until what is seen has ended; a controller that is away for a while is waited for.

    Raises:
        UnreachableError, ApiError: the controller stays away, or refuses.
    """
    answered_at = time.monotonic()
    while True:
        for name in keep_up() if keep_up else ():
            say(f"{name} had ended and was started again")
        try:
            run = look()
        except ClientError as error:
            if not is_passing(error) or time.monotonic() - answered_at > _PATIENCE_SECONDS:
                raise
        else:
            answered_at = time.monotonic()
            if run.state in FINAL_STATES:
                return run
        time.sleep(_POLL_SECONDS)


def watch_training(client: Client, training_id: str, console: Console) -> TrainingDetail:
    """Show a training request until it has ended, with its results.

    Raises:
        CommandError: it failed.
    """
    console.print(f"training request {training_id}")
    with ExitStack() as stack:
        status = stack.enter_context(console.status("waiting ..."))

        def show(run: Run) -> None:
            status.update(f"{run.trials_final} of {run.trials_planned} trainings done, best AP {percent(run.best_ap)}")

        client.wait(training_id, show)
    training = client.get_training(training_id)
    console.print(results_table(training))
    if training.state != "succeeded":
        raise CommandError(f"training request {training_id} {training.state}: {training.reason}", FAILED)
    return training


def results_table(training: TrainingDetail) -> Table:
    """AP of each loss over its seeds, in percent."""
    table = Table("loss", "AP", "spread", "seeds", box=None)
    for row in training.results:
        spread = "–" if row.spread is None else f"± {100 * row.spread:.1f}"
        table.add_row(row.label, percent(row.mean), spread, f"{len(row.rewards)}/{row.planned}")
    return table
