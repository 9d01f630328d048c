"""Commands that train and measure: on this machine through the trainer, or as jobs of the platform."""

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from paploss.caches import find_cache_folder
from paploss.cli.connection import (
    DEFAULT_STATE,
    JsonOption,
    KeyFileOption,
    ProjectOption,
    StateOption,
    UrlOption,
    connect,
    watch_over,
)
from paploss.cli.dataset_checks import NoCheckOption, without_checks
from paploss.cli.extras import require
from paploss.cli.failures import BAD_INPUT, FAILED, CommandError
from paploss.cli.local_training import call_trainer, run_training
from paploss.cli.output import echo, echo_json
from paploss.cli.specifications import read_training
from paploss.cli.terminal import make_console, say
from paploss.cli.watching import watch_trainings
from paploss.cli.wording import next_command
from paploss.client.loss_choice import LossChoice
from paploss.client.numbers import percent
from paploss.client.specs import TrainingSpec
from paploss.jobs.metrics import Metrics
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import JobSpec
from paploss.jobs.wording import counted


class ScheduleChoice(StrEnum):
    """A profile's schedules."""

    FINAL = "final"
    PROXY = "proxy"


class SplitChoice(StrEnum):
    """What a training is evaluated on."""

    VAL = "val"
    TEST = "test"


def train(
    loss: Annotated[
        str,
        typer.Argument(
            help="A file, from `paploss export` or with a LossSpec written by hand, or a name: published, identity, "
            "focal_l1, alrp and so on; for a wrong name the message lists all."
        ),
    ],
    *,
    like: Annotated[
        Path | None,
        typer.Option(help="Search specification to take profile, data set and weights from; an export has them too."),
    ] = None,
    profile: Annotated[str | None, typer.Option(help=f"Detector: {', '.join(PROFILES)}.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data set, in place of the file's.")] = None,
    schedule: Annotated[
        ScheduleChoice, typer.Option(help="The long schedule, or the short one of the search.")
    ] = ScheduleChoice.FINAL,
    epochs: Annotated[int | None, typer.Option(min=1, help="Number of epochs, in place of the schedule's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of initial weights and order of images.")] = 0,
    evaluate_on: Annotated[SplitChoice, typer.Option(help="Split to measure AP on.")] = SplitChoice.VAL,
    gpus: Annotated[int | None, typer.Option(min=0, help="Several train under torchrun.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--output", "--out", help="Folder for weights, log and result (default: trainings/LOSS-SEED)."),
    ] = None,
    no_check: NoCheckOption = False,
    submit: Annotated[bool, typer.Option("--submit", help="Run it as a job of the platform, not here.")] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Train a detector with a loss: the final training with what a search found, or with any other set."""
    console = make_console(stderr=as_json)
    label = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(loss).stem)[:50] or "loss"
    request = read_training(
        loss, like, profile=profile, data_root=data_root, epochs=epochs, gpus=gpus, schedule=schedule.value
    )
    if no_check:
        request = request.model_copy(update={"dataset": without_checks(request.dataset)})
    if submit:
        choice = LossChoice(label=label, loss=request.loss, learning_rate_factor=request.learning_rate_factor)
        spec = TrainingSpec(
            name=f"{label}, seed {seed}",
            profile=request.profile,
            dataset=request.dataset,
            weights=request.weights,
            overrides=request.overrides,
            gpus=request.gpus,
            gather_scores=request.gather_scores,
            schedule=schedule.value,
            losses=(choice,),
            seeds=(seed,),
            evaluate_split=evaluate_on.value,
        )
        with connect(state, url, key_file) as client:
            training_id = client.create(spec, project=project).id
            training = watch_trainings(client, training_id, console, watch_over(state, url))
        if as_json:
            echo_json(training)
        return
    require("a training on this machine (--submit has the platform run it)", "trainer")
    job = JobSpec(
        trial_id=f"{label}-{seed}",
        kind="final",
        profile=request.profile,
        schedule=schedule.value,
        overrides=request.overrides,
        learning_rate_factor=request.learning_rate_factor,
        dataset=request.dataset,
        evaluate_split=evaluate_on.value,
        loss=request.loss,
        seed=seed,
        weights=request.weights,
        gpus=request.gpus,
        gather_scores=request.gather_scores,
    )
    if not job.dataset.root and job.profile != "synthetic":
        find_cache_folder()  # where that is an unusual place, it is said here too, and not in the trainer's log alone
    result = run_training(job, out or Path("trainings") / job.trial_id, console)
    if result.outcome == "failed":
        raise CommandError(f"the training failed ({result.error_kind}): {result.error}", FAILED)
    if as_json:
        echo_json(result)
        return
    if result.metrics is not None:
        console.print(metrics_table(result.metrics))
    console.print(f"AP {percent(result.reward)} on {evaluate_on.value}", style="bold")
    if result.checkpoint:
        say(console, f"weights: {result.checkpoint}")
        if PROFILES[job.profile].detector:
            say(console, f"next: {next_command('test', result.checkpoint)}")


def measure(
    checkpoint: Annotated[Path, typer.Argument(help="Weights of a final training: detector.pth.")],
    split: Annotated[SplitChoice, typer.Option(help="Split to measure AP on.")] = SplitChoice.TEST,
    job: Annotated[
        Path | None, typer.Option(help="The training's job.json (default: origin.json beside the weights says).")
    ] = None,
    no_check: NoCheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the AP of a checkpoint, per class too."""
    if not checkpoint.is_file():
        raise CommandError(f"{checkpoint}: no such file", BAD_INPUT)
    named = (["--job", str(job)] if job else []) + (["--no-check"] if no_check else [])
    output = call_trainer(["evaluate", "--checkpoint", str(checkpoint), "--split", split.value, *named])
    if as_json:
        echo_json(json.loads(output))
    else:
        measured = json.loads(output)
        images = measured.pop("images")
        echo(f"on the split {measured.pop('split')}, {counted(images, 'image')}")
        make_console().print(metrics_table(Metrics.model_validate(measured)))


def metrics_table(metrics: Metrics) -> Table:
    """COCO metrics in percent, and AP per class."""
    table = Table("", "AP", box=None)
    rows = {"AP": metrics.ap, "AP50": metrics.ap50, "AP75": metrics.ap75}
    rows |= {"AP small": metrics.ap_small, "AP medium": metrics.ap_medium, "AP large": metrics.ap_large}
    # A class may be called AP too.
    for name, value in (*rows.items(), *metrics.per_class.items()):
        table.add_row(Text(name), "–" if value < 0 else percent(value))
    return table
