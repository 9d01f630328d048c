"""`paploss search`: start a search, or go on with one, and watch it."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from paploss.cli.connection import (
    DEFAULT_STATE,
    JsonOption,
    KeyFileOption,
    ProjectOption,
    StateOption,
    UrlOption,
    name_controller,
)
from paploss.cli.dataset_checks import NoCheckOption, check_first, without_checks
from paploss.cli.dry_run import estimate_here, show
from paploss.cli.exports import (
    ExportFormat,
    default_file,
    describe_best,
    describe_files,
    export_files,
    write_files,
)
from paploss.cli.failures import FAILED, INTERRUPTED, CommandError
from paploss.cli.output import echo_json, tell
from paploss.cli.own_platform import DataRootOption, DetachOption, PortOption, WorkersOption, use_platform
from paploss.cli.progress import conclusion
from paploss.cli.specifications import read_search
from paploss.cli.terminal import make_console, say
from paploss.cli.watching import resume_same, waits_for_decision, watch_search
from paploss.cli.wording import describe_end, next_command
from paploss.client.models import ExperimentDetail
from paploss.client.states import FINAL_EXPERIMENT_STATES
from paploss.client.sync_client import Client
from paploss.client.verdict import names_another

SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="What to search; see examples/.")]


def search(
    spec_file: SpecArgument,
    *,
    data_root: DataRootOption = None,
    no_check: NoCheckOption = False,
    start_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|ID|FILE",
            help="`published`, the id of an earlier search, or a file of `paploss dump` or `paploss export`; in place "
            "of the specification's start_from. May be repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Estimate what it would cost, in hours, GPU-hours and disk; start nothing."),
    ] = False,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="With `pilot: ask`: continue after the pilot without asking.")
    ] = False,
    project: ProjectOption = None,
    detach: DetachOption = False,
    workers: WorkersOption = None,
    port: PortOption = None,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Search for a loss: on a running platform if there is one, else on one that lives as long as this command.

    Interrupted on its own platform, the same command goes on where it was.
    """
    spec = read_search(spec_file, data_root, start_from or ())
    console = make_console(stderr=as_json)
    if no_check:
        spec = spec.model_copy(update={"dataset": without_checks(spec.dataset)})
    if url is None:
        check_first(spec, console)
    if dry_run:
        estimate, measured = estimate_here(spec, console, state, url, key_file)
        if as_json:
            further = {
                "gpu_hours": estimate.gpu_hours,
                "most_gpu_hours": estimate.most_gpu_hours,
                "disk_bytes": None if measured is None else measured.disk_bytes,
            }
            echo_json(estimate.model_dump(mode="json") | further)
        else:
            show(estimate, measured, console)
        return
    with use_platform(spec, console, state, url, key_file, workers=workers, port=port, detach=detach) as platform:
        client = platform.client
        # On a platform that stays, the same command again means another search.
        unfinished = resume_same(client, spec, FINAL_EXPERIMENT_STATES) if platform.is_own else None
        experiment_id = unfinished or client.create(spec, project=project).id
        if detach:
            tell(as_json, {"id": experiment_id}, experiment_id)
            return
        console.print(f"search {experiment_id}{' goes on' if unfinished else ''}")
        try:
            found = watch_search(client, experiment_id, console, platform.keep_up)
            while waits_for_decision(found):
                say(console, found.reason)
                if not (go_on or _ask(console)):
                    raise CommandError(_describe_pause(experiment_id, platform.is_own, state, url), FAILED)
                client.resume(experiment_id)
                found = watch_search(client, experiment_id, console, platform.keep_up)
        except KeyboardInterrupt:
            if not platform.is_own:
                follow = next_command("show", experiment_id, "--watch", *name_controller(state, url))
                raise CommandError(f"the search goes on: {follow}", INTERRUPTED) from None
            console.print("running trials leave a checkpoint ...")
            raise CommandError("interrupted; the same command goes on", INTERRUPTED) from None
        _conclude(client, found, console, state, as_json)


def _ask(console: Console) -> bool:
    return console.is_terminal and sys.stdin.isatty() and typer.confirm("Go on with the search?", err=console.stderr)


def _describe_pause(experiment_id: str, is_own: bool, state: Path, url: str | None) -> str:
    goes_on = "the same command" if is_own else next_command("resume", experiment_id, *name_controller(state, url))
    return f"paused after the pilot; {goes_on} goes on"


def _conclude(client: Client, found: ExperimentDetail, console: Console, state: Path, as_json: bool) -> None:
    if found.state != "succeeded":
        raise CommandError(describe_end(found), FAILED)
    best = client.best(found.id)
    files = export_files(default_file(state, found.id))
    written, refused = write_files(found, best, files, list(ExportFormat))
    file = str(files[ExportFormat.JSON])
    if as_json:
        echo_json(describe_best(found, best) | {"file": file})
        return
    console.print()
    console.print("\n".join(conclusion(best)), style="bold")
    for line in describe_files(written, refused):
        say(console, line)
    if best.report is not None and names_another(best.report):
        say(console, "these files hold the best found loss, not the one to use")
    else:
        say(console, f"next: {next_command('train', file)}")
