"""The command line `paploss`: its commands, in the order that `--help` shows."""

from importlib.metadata import version
from typing import Annotated, ClassVar

import typer

from paploss.cli.failures import EXIT_STATUSES
from paploss.cli.groups import CommandEntry, LazyGroup
from paploss.cli.output import prepare_streams


class Commands(LazyGroup):
    """All commands. A summary is the first paragraph of its function's docstring."""

    entries: ClassVar = {
        "init": CommandEntry(
            "preparing:init",
            "Prepare a search on a folder of labelled images: convert, split, measure a baseline, write the "
            "specification.",
            extras=("trainer",),
        ),
        "search": CommandEntry(
            "searches:search",
            "Search for a loss: on a running platform if there is one, else on one that lives as long as this command.",
        ),
        "list": CommandEntry(
            "listing:list_all",
            "Experiments, newest first; archived ones are left out.",
        ),
        "show": CommandEntry(
            "experiments:show",
            "One search with its rounds and its best loss, or one comparison or training with its results.",
        ),
        "annotate": CommandEntry(
            "annotating:annotate",
            "Add a note and tags to experiments or trials, or hide experiments from lists.",
        ),
        "pause": CommandEntry(
            "experiments:pause",
            "Stop starting trials; running ones leave a checkpoint.",
        ),
        "resume": CommandEntry(
            "experiments:resume",
            "Go on after a pause.",
        ),
        "cancel": CommandEntry(
            "experiments:cancel",
            "End an experiment and all its open trials, for good.",
        ),
        "dump": CommandEntry(
            "backups:dump",
            "Write a search with its rounds, trials, results and log to a file; needs an administrator's key.",
        ),
        "load": CommandEntry(
            "backups:load",
            "Restore the search of a file, whether it comes from SQLite or PostgreSQL; needs an administrator's key.",
        ),
        "export": CommandEntry(
            "exports:export",
            "Write the best loss: as JSON, as a ready mmdet config, and as a standalone PyTorch module.",
        ),
        "report": CommandEntry(
            "reports:report",
            "Write the whole history of a search to one self-contained HTML file.",
            extras=("controller",),
        ),
        "mirror": CommandEntry(
            "mirroring:mirror",
            "Write experiments to MLflow or TensorBoard: each trial that has ended as a run, and the verdict.",
            extras=("controller",),
        ),
        "compare": CommandEntry(
            "comparisons:compare",
            "Train several losses over the same seeds, and compare their AP, or another reward.",
        ),
        "train": CommandEntry(
            "trainings:train",
            "Train a detector with a loss: the final training with what a search found, or with any other set.",
        ),
        "test": CommandEntry(
            "trainings:measure",
            "Measure the AP of a checkpoint, per class too.",
            extras=("trainer",),
        ),
        "trainer-check": CommandEntry(
            "trainer_checks:trainer_check",
            "Check that a training program of your own keeps the contract of trainers.",
        ),
        "doctor": CommandEntry(
            "datasets:doctor",
            "Check a data set: files, sizes, boxes, classes and splits. Exit status 1 if it cannot be trained on.",
            extras=("trainer",),
        ),
        "convert": CommandEntry(
            "datasets:convert",
            "Convert a data set to COCO: train.json, val.json, test.json and images/.",
            extras=("trainer",),
        ),
        "convert-voc": CommandEntry(
            "datasets:convert_voc",
            "Convert a Pascal VOC data set to COCO, as `paploss convert --layout voc`.",
            extras=("trainer",),
        ),
        "split": CommandEntry(
            "datasets:split",
            "Split a training set into a part to train on in a search and a part to measure rewards on.",
            extras=("trainer",),
        ),
        "up": CommandEntry(
            "up:up",
            "Run the whole platform on this machine until Ctrl-C; unfinished searches continue.",
            extras=(
                "controller",
                "worker",
            ),
        ),
        "serve": CommandEntry(
            "serving:serve",
            "Run a controller alone, as in a cluster; its settings are the environment's PAPLOSS_... variables.",
            extras=("controller",),
        ),
        "worker": CommandEntry(
            "workers:worker",
            "Run a worker alone, as in a job of Slurm; its settings are the environment's PAPLOSS_... variables.",
            extras=("worker",),
        ),
        "migrate": CommandEntry(
            "databases:migrate",
            "Bring the database of PAPLOSS_DATABASE_URL to this program's schema; repeating it is harmless.",
            extras=("controller",),
        ),
        "check": CommandEntry(
            "checks:check",
            "Report which part of a deployment does not work and why, with a controller's own settings and secrets.",
            extras=("controller",),
        ),
        "keys": CommandEntry(
            "keys:app",
            "API keys of a controller.",
        ),
        "projects": CommandEntry(
            "projects:app",
            "Projects, which separate users: who sees what, and how much they may use.",
        ),
        "subscriptions": CommandEntry(
            "subscriptions:app",
            "Who is notified when an experiment ends, fails or stalls.",
        ),
        "tokens": CommandEntry(
            "tokens:app",
            "Your personal access tokens: they expire, and may do less than your key.",
        ),
    }


app = typer.Typer(
    name="paploss",
    cls=Commands,
    help="Search Parameterized AP losses for object detection, and train with them.",
    epilog=EXIT_STATUSES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"paploss {version('paploss')}")
        raise typer.Exit


@app.callback()
def _prepare(
    *,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Nothing: the group's help is above."""


def run() -> None:
    """The program `paploss`."""
    prepare_streams()
    app(prog_name="paploss")
