"""Following an experiment until it has ended."""

import time
from collections.abc import Callable, Collection

from rich.console import Console
from rich.table import Table

from paploss.cli.failures import FAILED, CommandError
from paploss.cli.progress import SearchProgress
from paploss.cli.terminal import say
from paploss.cli.wording import describe_end
from paploss.client.documents import SPEC
from paploss.client.errors import ClientError, is_passing
from paploss.client.models import ExperimentDetail, ExperimentSummary
from paploss.client.numbers import mean_and_deviation, percent
from paploss.client.specs import ExperimentSpec
from paploss.client.states import FINAL_EXPERIMENT_STATES
from paploss.client.sync_client import Client
from paploss.jobs.documents import UnreadableError

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 120.0
"""A controller that restarts is waited for."""


KeepUp = Callable[[], list[str]]
"""Starts again what has ended of a platform of one's own, and returns the names; raises where a platform has ended that
is not one's own. Called at every look."""


def watch_search(client: Client, experiment_id: str, console: Console, keep_up: KeepUp) -> ExperimentDetail:
    """Show a search until it has ended, or waits for its user's decision.

    Raises:
        UnreachableError, ApiError: the controller stays away, or refuses.
    """
    with SearchProgress(console) as progress:

        def look() -> ExperimentDetail:
            search = client.get_experiment(experiment_id)
            rounds = list(client.rounds(experiment_id))
            running = list(client.trials(experiment_id, state="running"))
            progress.update(search, rounds, running)
            return search

        return follow(look, progress.say, keep_up, waits_for_decision)


def waits_for_decision(run: ExperimentSummary) -> bool:
    """Whether a search has paused itself after its pilot; its reason says what was found."""
    return run.state == "paused" and bool(run.reason)


def resume_same(
    client: Client, spec: ExperimentSpec, but_not: Collection[str], project: str | None = None
) -> str | None:
    """The newest experiment of this very specification in none of the states `but_not`; it goes on if it was paused."""
    for summary in client.list_experiments(spec.kind, project=project):
        if summary.state in but_not or not _has_spec(client, summary, spec):
            continue
        if summary.state == "paused":
            client.resume(summary.id)
        return summary.id
    return None


def _has_spec(client: Client, summary: ExperimentSummary, spec: ExperimentSpec) -> bool:
    if (summary.kind, summary.name, summary.profile) != (spec.kind, spec.name, spec.profile):
        return False
    try:
        return SPEC.read(client.get_experiment(summary.id).spec) == spec
    except UnreadableError:  # of another version of the program
        return False


def follow(
    look: Callable[[], ExperimentDetail],
    say: Callable[[str], None],
    keep_up: KeepUp,
    is_over: Callable[[ExperimentDetail], bool] = lambda _: False,
) -> ExperimentDetail:
    """Look until what is seen has ended or `is_over`; a controller that is away is waited for a while, which is said.

    Raises:
        UnreachableError, ApiError: the controller stays away, or refuses.
        CommandError: the platform has ended.
    """
    answered_at = time.monotonic()
    is_away = False
    while True:
        for name in keep_up():
            say(f"{name} had ended and was started again")
        try:
            run = look()
        except ClientError as error:
            if not is_passing(error) or time.monotonic() - answered_at > _PATIENCE_SECONDS:
                raise
            if not is_away:
                say(f"{error}; waiting for it")
            is_away = True
        else:
            answered_at, is_away = time.monotonic(), False
            if run.state in FINAL_EXPERIMENT_STATES or is_over(run):
                return run
        time.sleep(_POLL_SECONDS)


def watch_trainings(client: Client, experiment_id: str, console: Console, keep_up: KeepUp) -> ExperimentDetail:
    """Show trainings until they have ended, with their results.

    Raises:
        CommandError: they failed.
    """
    console.print(f"experiment {experiment_id}")
    with console.status("waiting ...") as status:

        def look() -> ExperimentDetail:
            run = client.get_experiment(experiment_id)
            best = percent(run.best_ap)
            status.update(f"{run.trials_final} of {run.trials_planned} trainings done, best {run.metric} {best}")
            return run

        training = follow(look, lambda line: say(console, line), keep_up)
    console.print(results_table(training))
    if training.state != "succeeded":
        raise CommandError(describe_end(training), FAILED)
    return training


def results_table(training: ExperimentDetail) -> Table:
    """Reward of each loss over its seeds, in percent."""
    table = Table("loss", f"{training.metric} ± sd", "seeds", box=None)
    for row in training.results:
        table.add_row(row.label, mean_and_deviation(row.mean, row.spread), f"{len(row.rewards)}/{row.planned}")
    return table
