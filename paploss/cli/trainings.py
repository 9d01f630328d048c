"""Commands that train and measure: on this machine through the trainer, or as jobs of the platform."""

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from paploss.cli.connection import DEFAULT_STATE, JsonOption, KeyFileOption, StateOption, UrlOption, connect
from paploss.cli.failures import FAILED, CommandError
from paploss.cli.local_training import call_trainer, run_training
from paploss.cli.progress import next_command, percent
from paploss.cli.specifications import read_training
from paploss.cli.watching import watch_trainings
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import TrainingSpec
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import JobSpec, Metrics


class Schedule(StrEnum):
    """A profile's schedules."""

    FINAL = "final"
    PROXY = "proxy"


class Split(StrEnum):
    """What a training is evaluated on."""

    VAL = "val"
    TEST = "test"


def train(
    loss: Annotated[
        str,
        typer.Argument(
            help="A file, from `paploss export` or with a LossSpec written by hand, or a name: published, identity, "
            "focal_l1, alrp and so on; a wrong one is answered with all."
        ),
    ],
    *,
    like: Annotated[
        Path | None,
        typer.Option(help="Search specification to take profile, data set and weights from; an export has them too."),
    ] = None,
    profile: Annotated[str | None, typer.Option(help=f"Detector: {', '.join(PROFILES)}.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data set, in place of the file's.")] = None,
    schedule: Annotated[Schedule, typer.Option(help="Long, or as in the search.")] = Schedule.FINAL,
    epochs: Annotated[int | None, typer.Option(min=1, help="In place of the schedule's number.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and order of images.")] = 0,
    evaluate_on: Annotated[Split, typer.Option(help="Split to measure AP on.")] = Split.VAL,
    gpus: Annotated[int | None, typer.Option(min=0, help="Several train under torchrun.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for weights, log and result (default: trainings/LOSS-SEED).")
    ] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Run it as a job of the platform, not here.")] = False,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Train a detector with a loss: the final training with what a search found, or with any other set."""
    console = Console(stderr=as_json, highlight=False)
    label = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(loss).stem)[:50] or "loss"
    request = read_training(
        loss, like, profile=profile, data_root=data_root, epochs=epochs, gpus=gpus, schedule=schedule.value
    )
    if submit:
        choice = LossChoice(label=label, loss=request.loss)
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
            training = watch_trainings(client, client.create(spec).id, console)
        if as_json:
            typer.echo(training.model_dump_json())
        return
    job = JobSpec(
        trial_id=f"{label}-{seed}",
        kind="final",
        profile=request.profile,
        schedule=schedule.value,
        overrides=request.overrides,
        dataset=request.dataset,
        evaluate_split=evaluate_on.value,
        loss=request.loss,
        seed=seed,
        weights=request.weights,
        gpus=request.gpus,
        gather_scores=request.gather_scores,
    )
    result = run_training(job, out or Path("trainings") / job.trial_id, console)
    if result.outcome == "failed":
        raise CommandError(f"the training failed ({result.error_kind}): {result.error}", FAILED)
    if as_json:
        typer.echo(result.model_dump_json())
        return
    if result.metrics is not None:
        console.print(metrics_table(result.metrics))
    console.print(f"AP {percent(result.reward)} on {evaluate_on.value}", style="bold")
    if result.checkpoint:
        console.print(f"weights: {result.checkpoint}", markup=False)
        console.print(f"next: {next_command('test', result.checkpoint)}", markup=False)


def measure(
    checkpoint: Annotated[Path, typer.Argument(help="Weights of a final training: detector.pth.")],
    split: Annotated[Split, typer.Option(help="Split to measure AP on.")] = Split.TEST,
    job: Annotated[
        Path | None, typer.Option(help="The training's job.json (default: origin.json beside the weights says).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the AP of a checkpoint, per class too."""
    named = ["--job", str(job)] if job else []
    output = call_trainer(["evaluate", "--checkpoint", str(checkpoint), "--split", split.value, *named])
    if as_json:
        typer.echo(output.strip())
    else:
        Console(highlight=False).print(metrics_table(Metrics.model_validate_json(output)))


def split(
    annotations: Annotated[Path, typer.Argument(help="COCO file, e.g. annotations/instances_train2017.json.")],
    val: Annotated[float, typer.Option(help="Images for validation: a number, or a fraction below 1.")],
    seed: Annotated[int, typer.Option(min=0, help="Which images are drawn.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Split a training set into a part to search on and a part to measure rewards on, both with every class."""
    forced = ["--overwrite"] if overwrite else []
    output = call_trainer(["split", str(annotations), "--val", str(val), "--seed", str(seed), *forced]).strip()
    if as_json:
        typer.echo(output)
        return
    for name, value in json.loads(output).items():
        typer.echo(f"{name}: {value}")


def convert_voc(
    folder: Annotated[Path, typer.Argument(help="Holds Annotations, ImageSets and JPEGImages.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the COCO files and images/ (default: FOLDER).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace COCO files that exist.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a Pascal VOC data set to COCO: train.json, val.json, test.json and images/.

    Images are linked, and copied only to another file system. Objects marked as difficult become crowds.
    """
    options = (["--output", str(output)] if output else []) + (["--overwrite"] if overwrite else [])
    written = call_trainer([str(folder), *options], "paploss.trainer.datasets.voc").strip()
    if as_json:
        typer.echo(written)
        return
    content = json.loads(written)
    for part in content["parts"].values():
        typer.echo(f"{part['file']}: images {part['images']}, objects {part['objects']}")
    typer.echo(f"classes: {', '.join(content['classes'])}")
    if content["empty_boxes"]:
        typer.echo(f"boxes without an area, left out: {content['empty_boxes']}")


def metrics_table(metrics: Metrics) -> Table:
    """COCO metrics in percent, and AP per class."""
    table = Table("", "AP", box=None)
    rows = {"AP": metrics.ap, "AP50": metrics.ap50, "AP75": metrics.ap75}
    rows |= {"AP small": metrics.ap_small, "AP medium": metrics.ap_medium, "AP large": metrics.ap_large}
    for name, value in (rows | metrics.per_class).items():
        table.add_row(name, "–" if value < 0 else percent(value))
    return table
