"""What the loss costs in a training step: `python -m benchmarks.proxy [--data FOLDER]`.

Steps (forward, loss, backward, clipping, optimiser) of each small detector, and of Deformable DETR in its published
size on small images, with the Parameterized AP Loss and with the detector's own, on the same images, in turns in the
same run; and the losses within these steps, matching and gradients of the outputs included. Without --data the
embedded digits are used; FOLDER is a COCO folder with train.json and images/. On a machine that others use as well,
`--threads 1 --clock cpu` counts this process's CPU time. Writes benchmarks/results/proxy-cpu.json.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import write_record
from benchmarks.training_steps import take_steps
from paploss.jobs.losses import CEL1, FocalGIoU, FocalL1GIoU, Loss
from paploss.jobs.presets import PRESETS
from paploss.jobs.spec import DatasetSpec, JobSpec, Overrides, Split


@dataclass(frozen=True)
class Case:
    """A detector, its own loss, and how much of it is measured."""

    own: Loss
    preset: str = "retinanet"
    overrides: Overrides = field(default_factory=Overrides)
    share_of_steps: float = 1.0


CASES = {
    "retinanet-tiny": Case(FocalGIoU()),
    "atss-tiny": Case(FocalGIoU()),
    "faster-rcnn-tiny": Case(CEL1(), "faster-rcnn"),
    "deformable-detr-tiny": Case(FocalL1GIoU()),
    "deformable-detr-r50": Case(
        FocalL1GIoU(), overrides=Overrides(image_size_px=192, batch_size=2), share_of_steps=0.25
    ),
}
"""By profile. Deformable DETR has no published parameters; those of RetinaNet cost as much as any."""
WARM_UP_STEPS = 3
CODE = ("benchmarks/proxy.py", "benchmarks/training_steps.py", "trainer", "paploss/losses")


def measure(jobs: dict[str, JobSpec], count: int, clock: Callable[[], float]) -> dict[str, tuple[float, float]]:
    """Median milliseconds of a step of each job, and of the losses in it, taken in turns."""
    device = torch.device("cpu")
    steps = {name: take_steps(job, count + WARM_UP_STEPS, device, clock) for name, job in jobs.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for number in range(count + WARM_UP_STEPS):
        for name, step in steps.items():
            whole, in_losses, _ = next(step)
            if number >= WARM_UP_STEPS:
                times[name].append((whole, in_losses))
    return {name: tuple(np.median(taken, axis=0).tolist()) for name, taken in times.items()}


def measure_case(
    profile: str, case: Case, source: DatasetSpec, steps: int, clock: Callable[[], float]
) -> dict[str, object]:
    """What is recorded of one profile."""
    losses = {"parameterized_ap": PRESETS[case.preset], case.own.name: case.own}
    jobs = {
        name: JobSpec(trial_id=name, profile=profile, dataset=source, loss=loss, overrides=case.overrides)
        for name, loss in losses.items()
    }
    medians = measure(jobs, round(steps * case.share_of_steps), clock)
    (ours, our_loss), (own, own_loss) = medians.values()
    return {
        "step_ms": {name: round(whole, 2) for name, (whole, _) in medians.items()},
        "loss_ms": {name: round(in_losses, 2) for name, (_, in_losses) in medians.items()},
        "loss_share": {name: round(in_losses / whole, 4) for name, (whole, in_losses) in medians.items()},
        "step_ratio": round(ours / own, 3),
        "loss_ratio": round(our_loss / own_loss, 3),
    }


def dataset(folder: Path | None) -> DatasetSpec:
    """BCCD's layout below `folder`, or the embedded data set."""
    if folder is None:
        return DatasetSpec()
    train = Split(annotations="train.json", images="images")
    return DatasetSpec(name=folder.name, root=str(folder.resolve()), train=train, val=train)


def main() -> None:
    """Measure all cases, or those named, and record them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument(
        "--steps", type=int, default=60, help="of the small detectors; a quarter of it of the large one"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    source = dataset(arguments.data)
    load = [os.getloadavg()[0]]
    profiles: dict[str, object] = {}
    for profile, case in CASES.items():
        profiles[profile] = measure_case(profile, case, source, arguments.steps, clock)
        print(f"{profile}: {profiles[profile]}", flush=True)
    load.append(os.getloadavg()[0])
    path = write_record(
        "proxy-cpu",
        CODE,
        {
            "torch": torch.__version__,
            "threads": arguments.threads,
            "clock": arguments.clock,
            "dataset": source.name,
            "steps": arguments.steps,
            "load_before_and_after": [round(one, 1) for one in load],
            "profiles": profiles,
            "target_step_ratio": 1.15,
        },
    )
    print(f"recorded in {path}")


if __name__ == "__main__":
    main()
