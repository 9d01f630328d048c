"""What the loss costs in a whole training step of `retinanet-tiny`: `python -m benchmarks.proxy [--data FOLDER]`.

Steps (loading, forward, loss, backward, clipping, optimiser) of the same detector with the Parameterized AP Loss and
with Focal + GIoU, on the same images, in turns in the same run. Without --data the embedded digits are used; FOLDER is
a COCO folder with train.json and images/. On a machine that others use as well, `--threads 1 --clock cpu` counts this
process's CPU time. Writes benchmarks/results/proxy-cpu.json.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.record import write_record
from paploss.caches import find_cache_folder
from paploss.jobs.losses import FocalGIoU
from paploss.jobs.presets import PRESETS
from paploss.jobs.spec import DatasetSpec, JobSpec, Split
from paploss.trainer.datasets.loading import SampleOrder, TrainingSamples, training_batches
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.minimised import minimised_loss
from paploss.trainer.profiles import recipe_of
from paploss.trainer.schedule import build_optimizer

LOSSES = {"parameterized_ap": PRESETS["retinanet"], "focal_giou": FocalGIoU()}
WARM_UP_STEPS = 5
CODE = ("benchmarks/proxy.py", "trainer")


def steps_of(job: JobSpec, count: int) -> Iterator[None]:
    """Takes one training step each time it is asked."""
    data = read_job_data(job, find_cache_folder())
    recipe = recipe_of(job, data.train)
    detector: Any = build_detector(recipe.model, job.seed).train()
    optimizer = build_optimizer(detector, recipe.schedule)
    samples = TrainingSamples(data.train, recipe, job.seed)
    order = SampleOrder(
        image_count=len(samples),
        batch_size=recipe.schedule.batch_size,
        seed=job.seed,
        start_iteration=0,
        total_iterations=count,
    )
    for batch in training_batches(samples, order, process_count=0, device=torch.device("cpu")):
        losses = detector(**detector.data_preprocessor(batch, training=True), mode="loss")
        optimizer.zero_grad(set_to_none=True)
        minimised_loss(losses, recipe.heads).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(detector.parameters(), recipe.schedule.clip_norm or float("inf"))
        optimizer.step()
        yield


def measure(jobs: dict[str, JobSpec], count: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median milliseconds of a step of each job, taken in turns."""
    steps = {name: steps_of(job, count + WARM_UP_STEPS) for name, job in jobs.items()}
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(count + WARM_UP_STEPS):
        for name, step in steps.items():
            started = clock()
            next(step)
            if number >= WARM_UP_STEPS:
                times[name].append(1e3 * (clock() - started))
    return {name: float(np.median(taken)) for name, taken in times.items()}


def dataset(folder: Path | None) -> DatasetSpec:
    """BCCD's layout below `folder`, or the embedded data set."""
    if folder is None:
        return DatasetSpec()
    train = Split(annotations="train.json", images="images")
    return DatasetSpec(name=folder.name, root=str(folder.resolve()), train=train, val=train)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    source = dataset(arguments.data)
    jobs = {
        name: JobSpec(trial_id=name, profile="retinanet-tiny", dataset=source, loss=loss)
        for name, loss in LOSSES.items()
    }
    medians = measure(jobs, arguments.steps, clock)
    ratio = medians["parameterized_ap"] / medians["focal_giou"]
    path = write_record(
        "proxy-cpu",
        CODE,
        {
            "torch": torch.__version__,
            "threads": arguments.threads,
            "clock": arguments.clock,
            "dataset": source.name,
            "steps": arguments.steps,
            "milliseconds": {name: round(value, 2) for name, value in medians.items()},
            "ratio": round(ratio, 3),
            "target_ratio": 1.15,
        },
    )
    print(f"{medians} ratio {ratio:.3f}, recorded in {path}")


if __name__ == "__main__":
    main()
