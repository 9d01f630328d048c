"""The command line `paploss`: its commands, in the order that `--help` shows."""

from typing import ClassVar

import typer

from paploss.cli.failures import EXIT_STATUSES
from paploss.cli.groups import Entry, LazyGroup
from paploss.cli.output import prepare_streams


class Commands(LazyGroup):
    """All commands. A summary is the first paragraph of its function's docstring."""

    entries: ClassVar = {
        "search": Entry(
            "searches:search",
            "Search a loss: on a running platform if there is one, else on one that lives as long as this command.",
        ),
        "list": Entry(
            "listing:list_all",
            "All experiments, newest first.",
        ),
        "show": Entry(
            "experiments:show",
            "One search with its rounds and its best loss, or one comparison or training with its results.",
        ),
        "pause": Entry(
            "experiments:pause",
            "Stop starting trials; running ones are preempted and leave a checkpoint.",
        ),
        "resume": Entry(
            "experiments:resume",
            "Go on after a pause.",
        ),
        "cancel": Entry(
            "experiments:cancel",
            "End an experiment and all its open trials, for good.",
        ),
        "dump": Entry(
            "backups:dump",
            "Write a search with its rounds, trials, results and log to a file; needs an administrator's key.",
        ),
        "load": Entry(
            "backups:load",
            "Store the search of a file, on SQLite or PostgreSQL whichever it came from; needs an administrator's key.",
        ),
        "export": Entry(
            "results:export",
            "Write the best loss: as JSON, as a ready mmdet config, and as a standalone PyTorch module.",
        ),
        "report": Entry(
            "reports:report",
            "Tell the whole story of a search in one HTML file that needs nothing else.",
            extras=("controller",),
        ),
        "compare": Entry(
            "comparisons:compare",
            "Train several losses over the same seeds, and compare their AP.",
        ),
        "train": Entry(
            "trainings:train",
            "Train a detector with a loss: the final training with what a search found, or with any other set.",
        ),
        "test": Entry(
            "trainings:measure",
            "Measure the AP of a checkpoint, per class too.",
            extras=("trainer",),
        ),
        "doctor": Entry(
            "datasets:doctor",
            "Check a data set: files, sizes, boxes, classes and splits. Exit status 1 if it cannot be trained on.",
            extras=("trainer",),
        ),
        "convert": Entry(
            "datasets:convert",
            "Convert a data set to COCO: train.json, val.json, test.json and images/.",
            extras=("trainer",),
        ),
        "convert-voc": Entry(
            "datasets:convert_voc",
            "Convert a Pascal VOC data set to COCO: train.json, val.json, test.json and images/.",
            extras=("trainer",),
        ),
        "split": Entry(
            "trainings:split",
            "Split a training set into a part to search on and a part to measure rewards on, both with every class.",
            extras=("trainer",),
        ),
        "up": Entry(
            "up:up",
            "Run the whole platform on this machine until Ctrl-C; unfinished searches continue.",
            extras=(
                "controller",
                "worker",
            ),
        ),
        "serve": Entry(
            "serving:serve",
            "Run a controller alone, as in a cluster; its settings are the environment's PAPLOSS_... variables.",
            extras=("controller",),
        ),
        "migrate": Entry(
            "databases:migrate",
            "Bring the database of PAPLOSS_DATABASE_URL to this program's schema; repeating it is harmless.",
            extras=("controller",),
        ),
        "check": Entry(
            "checks:check",
            "Tell which part of a deployment does not work, with a controller's own settings and secrets, and why.",
            extras=("controller",),
        ),
        "keys": Entry(
            "keys:app",
            "API keys of a controller.",
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


@app.callback()
def _prepare() -> None:
    """Nothing: the group's help is above."""


def run() -> None:
    """The program `paploss`."""
    prepare_streams()
    app(prog_name="paploss")
