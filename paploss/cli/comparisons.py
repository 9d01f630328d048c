"""The command that compares losses: one start, or another look at what it started before."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from paploss.cli.connection import DEFAULT_STATE, JsonOption, KeyFileOption, ProjectOption, StateOption, UrlOption
from paploss.cli.dataset_checks import NoCheckOption, check_first, without_checks
from paploss.cli.failures import FAILED, INTERRUPTED, CommandError
from paploss.cli.output import echo_json, tell
from paploss.cli.own_platform import DataRootOption, DetachOption, PortOption, WorkersOption, use_platform
from paploss.cli.specifications import read_comparison
from paploss.cli.tables import comparison_table, rate_table
from paploss.cli.terminal import make_console, say
from paploss.cli.watching import KeepUp, follow, resume_same
from paploss.cli.wording import describe_end
from paploss.client.comparison import Comparison, write_csv
from paploss.client.documents import SPEC
from paploss.client.models import ExperimentDetail, TrialSummary
from paploss.client.numbers import percent
from paploss.client.sync_client import Client
from paploss.files import write_whole
from paploss.jobs.wording import duration

SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="What to compare; see examples/compare-*.")]


def compare(
    spec_file: SpecArgument,
    *,
    data_root: DataRootOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--output", "--out", help="Folder for compare-PROFILE.json, .csv and .png (default: STATE/exports/ID)."
        ),
    ] = None,
    no_check: NoCheckOption = False,
    project: ProjectOption = None,
    detach: DetachOption = False,
    workers: WorkersOption = None,
    port: PortOption = None,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Train several losses over the same seeds, and compare their AP, or another reward.

    Runs on a running platform if there is one, else on one that lives as long as this command. The same command again
    goes on where it was, and shows the result of a comparison that has ended.
    """
    spec = read_comparison(spec_file, data_root)
    console = make_console(stderr=as_json)
    if no_check:
        spec = spec.model_copy(update={"dataset": without_checks(spec.dataset)})
    if url is None:
        check_first(spec, console)
    with use_platform(spec, console, state, url, key_file, workers=workers, port=port, detach=detach) as platform:
        client = platform.client
        training_id = (
            resume_same(client, spec, ("failed", "cancelled"), project) or client.create(spec, project=project).id
        )
        if detach:
            tell(as_json, {"id": training_id}, training_id)
            return
        try:
            training = _watch(client, training_id, console, platform.keep_up)
        except KeyboardInterrupt:
            raise CommandError("interrupted; the same command goes on", INTERRUPTED) from None
        if training.state != "succeeded":
            raise CommandError(describe_end(training), FAILED)
        comparison = client.comparison(training_id)
    content = _describe(training, comparison)
    lines = _write_files(content, comparison, out or state / "exports" / training.id)
    if as_json:
        echo_json(content)
        return
    console.print(comparison_table(comparison))
    if spec.learning_rates:
        console.print(rate_table(comparison))
    for line in (*(f"{row.label}: {row.remark}" for row in comparison.rows if row.remark), *lines):
        say(console, line)
    if comparison.verdict is not None:
        say(console, comparison.verdict.sentence)


def _watch(client: Client, training_id: str, console: Console, keep_up: KeepUp) -> ExperimentDetail:
    """Show every training as it ends."""
    told: set[str] = set()
    console.print(f"comparison {training_id}")

    def tell(line: str) -> None:
        say(console, line)

    with console.status("waiting ...") as status:

        def look() -> ExperimentDetail:
            training = client.get_experiment(training_id)
            if training.trials_final > len(told):
                ended = [trial for trial in client.trials(training_id) if trial.finished_at and trial.id not in told]
                for trial in sorted(ended, key=lambda trial: (trial.finished_at, trial.number)):
                    told.add(trial.id)
                    tell(f"{len(told)}/{training.trials_planned} {_describe_trial(trial, training.metric)}")
            left = duration(training.seconds_left)
            status.update(f"{training.trials_final} of {training.trials_planned} trainings done, {left} left")
            return training

        return follow(look, tell, keep_up)


def _describe_trial(trial: TrialSummary, metric: str) -> str:
    result = f"{metric} {percent(trial.reward)}" if trial.reward is not None else f"{trial.state}: {trial.error or ''}"
    rate = f"learning rate x {trial.learning_rate_factor:g}"
    what = f"check of {rate}" if trial.kind == "rate_check" else f"seed {trial.seed}, {rate}"
    return f"{trial.label}, {what}: {result}{' (diverged)' if trial.diverged else ''}"


def _describe(training: ExperimentDetail, comparison: Comparison) -> dict[str, Any]:
    """What the JSON file holds. Folders of this machine are left out: they say nothing elsewhere."""
    return {
        "training": training.id,
        "created_at": training.created_at.isoformat(timespec="seconds"),
        "finished_at": training.finished_at.isoformat(timespec="seconds") if training.finished_at else None,
        "spec": SPEC.read(training.spec).model_dump(mode="json", exclude={"weights": True, "dataset": {"root"}}),
        "comparison": comparison.model_dump(mode="json"),
    }


def _write_files(content: dict[str, Any], comparison: Comparison, folder: Path) -> list[str]:
    """Write JSON, CSV and the plot; what was written, in lines for people."""
    stem = folder / f"compare-{comparison.profile}"
    texts = {".json": json.dumps(content, indent=1) + "\n", ".csv": write_csv(comparison)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, text in texts.items():
            write_whole(stem.with_name(stem.name + suffix), text)
        plotted = _write_plot(comparison, stem.with_name(f"{stem.name}.png"))
    except OSError as error:
        raise CommandError(f"--output {folder}: {error.strerror}", FAILED) from None
    return [*(f"{suffix[1:]}: {stem}{suffix}" for suffix in texts), plotted]


def _write_plot(comparison: Comparison, file: Path) -> str:
    try:
        # The trainer's packages bring matplotlib; the command line alone does without, and no other command needs it.
        from paploss.cli.comparison_plot import plot_comparison  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return f"png: not written, {error.name} is not installed here"
    plot_comparison(comparison, file)
    return f"png: {file}"
