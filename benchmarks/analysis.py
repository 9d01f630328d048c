"""What the analysis of the detections adds to a training: `python -m benchmarks.analysis --data FOLDER`.

Whole trainings of `retinanet-tiny` on blood cells with two losses, from reading the data to the result, and the part of
them that finds the kinds of errors, the curves and the pictures. FOLDER is a COCO folder with train.json, val.json and
images/. On a machine that others use as well, `--clock cpu` counts this process's CPU time. Writes
benchmarks/results/analysis.json.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.record import write_record
from paploss.jobs.analysis import Analysis
from paploss.jobs.losses import FocalGIoU, LossSpec
from paploss.jobs.presets import PRESETS
from paploss.jobs.spec import DatasetSpec, JobResult, JobSpec, Overrides, Split
from paploss.trainer import training
from paploss.trainer.analysis.analysis import analyse
from paploss.trainer.attempt import AttemptContext
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.evaluation import Evaluated
from paploss.trainer.events import discard

LOSSES: dict[str, LossSpec] = {"parameterized_ap": PRESETS["retinanet"], "focal_giou": FocalGIoU()}
EPOCHS = 4
TARGET_SHARE = 0.03
CODE = ("benchmarks/analysis.py", "trainer")


@dataclass
class Watched:
    """`analyse`, how long it took and what it has found."""

    clock: Callable[[], float]
    seconds: float = 0.0
    found: list[Analysis] = field(default_factory=list)

    def __call__(self, evaluated: Evaluated, split: CocoSplit) -> Analysis:
        started = self.clock()
        self.found.append(analyse(evaluated, split))
        self.seconds = self.clock() - started
        return self.found[-1]


@dataclass(frozen=True)
class Measured:
    """One training."""

    result: JobResult
    analysis: Analysis
    training_seconds: float
    """All of it."""
    analysis_seconds: float
    """Of these."""


def measure(folder: Path, loss: LossSpec, epochs: int, clock: Callable[[], float]) -> Measured:
    """Train with `loss` on the blood cells of `folder`."""
    train, val = (Split(annotations=f"{name}.json", images="images") for name in ("train", "val"))
    job = JobSpec(
        trial_id="analysis",
        kind="compare",
        profile="retinanet-tiny",
        dataset=DatasetSpec(name=folder.name, root=str(folder.resolve()), train=train, val=val),
        overrides=Overrides(epochs=epochs),
        loss=loss,
    )
    watched, started = Watched(clock), clock()
    with tempfile.TemporaryDirectory() as state, patch.object(training, "analyse", watched):
        attempt = AttemptContext(state=Path(state), cache=None, emit=discard, stop_requested=lambda: False)
        result = training.train_and_evaluate(job, attempt)
    return Measured(result, watched.found[-1], clock() - started, watched.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    torch.set_num_threads(arguments.threads)
    measured = {name: measure(arguments.data, loss, arguments.epochs, clock) for name, loss in LOSSES.items()}
    shares = {name: one.analysis_seconds / one.training_seconds for name, one in measured.items()}
    path = write_record(
        "analysis",
        CODE,
        {
            "torch": torch.__version__,
            "threads": arguments.threads,
            "clock": arguments.clock,
            "dataset": arguments.data.name,
            "epochs": arguments.epochs,
            "ap": {name: round(one.result.reward or 0, 4) for name, one in measured.items()},
            "training_seconds": {name: round(one.training_seconds, 2) for name, one in measured.items()},
            "analysis_seconds": {name: round(one.analysis_seconds, 3) for name, one in measured.items()},
            "share": {name: round(share, 4) for name, share in shares.items()},
            "target_share": TARGET_SHARE,
            "bytes": {name: len(one.analysis.model_dump_json()) for name, one in measured.items()},
        },
    )
    print(f"{shares}, recorded in {path}")


if __name__ == "__main__":
    main()
