"""Two devices, as processes over gloo: writes the averaged gradients of the ranking objective in each case, what both
devices normalise by in an evaluation, and how they weigh the box part of aLRP Loss after an epoch.

python tests/two_devices.py FILE
"""

import itertools
import multiprocessing
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from paploss.jobs.presets import PRESETS
from paploss.losses import ALRPLoss
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.distributed import gather_rows
from paploss.trainer.evaluation import evaluate
from paploss.trainer.heads.balancing import balance
from paploss.trainer.heads.objective import OBJECTIVES, RankingObjective
from paploss.trainer.heads.quality import DeltaCorners
from paploss.trainer.profiles.pipelines import test_images

CLASSES = 3
PARAMETERS = {
    "parameterized_ap": {"control_points": PRESETS["retinanet"].heads["bbox_head"].control_points},
    "handmade_ap": {"form": "sigmoid"},
}
NAMES = tuple(OBJECTIVES)
POSITIVES = {"both": (5, 2), "one": (5, 0), "none": (0, 0)}
"""Positive candidates of each device, by case."""
CANDIDATES = (40, 23)
"""Of each device: images differ in size."""
ALRP_STEPS = torch.tensor([[[0.5, 0.2], [0.7, 0.4]], [[0.1, 0.6], [0.3, 0.8]]], dtype=torch.float64)
"""Both parts of aLRP Loss in each step of an epoch of each device, `[device, step, 2]`."""


def make_inputs(case: str, device: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features `[M, 4]`, labels `[M]`, weights `[M]` and box targets `[M, 4]` of a device, in float64."""
    generator = torch.Generator().manual_seed(device + 1)
    count, positives = CANDIDATES[device], POSITIVES[case][device]
    labels = torch.full((count,), CLASSES)
    labels[:positives] = torch.randint(CLASSES, (positives,), generator=generator)
    weights = torch.ones(count)
    weights[-3:] = 0
    features, targets = (torch.randn(count, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    return features, labels, weights, targets


class Model(nn.Module):
    """A linear head: enough to have a weight that every candidate shares."""

    def __init__(self, name: str, gather_scores: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.classes = nn.Linear(4, CLASSES, dtype=torch.float64)
        self.boxes = nn.Linear(4, 4, dtype=torch.float64)
        self.objective = RankingObjective(name=name, gather_scores=gather_scores, **PARAMETERS.get(name, {}))
        self.corners = DeltaCorners((0.0,) * 4, (0.5,) * 4)

    def forward(self, features: Tensor, labels: Tensor, weights: Tensor, targets: Tensor) -> Tensor:
        losses = self.objective.losses_of(
            self.classes(features), labels, weights, self.boxes(features), targets, corners=self.corners
        )
        return torch.stack(list(losses.values())).sum()


def gradients(model: nn.Module) -> Tensor:
    """All of them in one row."""
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


class Blind(nn.Module):
    """A detector that normalises, and finds nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.BatchNorm1d(1)

    def data_preprocessor(self, batch, **_):
        return batch

    def forward(self, **_):
        return []


def means_in_evaluation(device: int, folder: Path) -> Tensor:
    """The running mean that each device evaluates with, `[2, 1]`, after steps that left them with 0 and 1."""
    detector = Blind()
    detector.layer.running_mean.fill_(device)
    image = {"id": 1, "file_name": f"{device}.png", "width": 8, "height": 8}
    cv2.imwrite(str(folder / image["file_name"]), np.zeros((8, 8, 3), np.uint8))
    split = CocoSplit(Path(), folder, images=(image,), annotations=(), categories=({"id": 1, "name": "cat"},))
    evaluate(detector, split, test_images())
    return gather_rows(detector.layer.running_mean[None])


def end_epoch(loss: ALRPLoss, steps: Tensor) -> None:
    """An epoch of some steps, `[step, 2]`."""
    detector = nn.Sequential(nn.Linear(1, 1), loss)
    for number, step in enumerate(steps):
        loss.epoch_sums += step  # as its forward does
        balance(detector, epoch_ended=number == len(steps) - 1)


def box_weights(device: int) -> Tensor:
    """The weight of each device after an epoch, `[2, 1]`."""
    loss = ALRPLoss()
    end_epoch(loss, ALRP_STEPS[device])
    return gather_rows(loss.box_weight.reshape(1, 1))


def value_and_gradients(name: str, case: str, gather_scores: bool, device: int) -> tuple[Tensor, Tensor]:
    model = Model(name, gather_scores)
    parallel = DistributedDataParallel(model)  # kept: what averages the gradients goes with it
    value = parallel(*make_inputs(case, device))
    value.backward()
    return value.detach(), gradients(model)


def measure(device: int, file: Path) -> None:
    """What one device does; the first writes what was found."""
    dist.init_process_group("gloo", init_method=f"file://{file.with_suffix('.store')}", rank=device, world_size=2)
    found: dict[object, object] = {
        each: value_and_gradients(*each, device) for each in itertools.product(NAMES, POSITIVES, (True, False))
    }
    found["means in evaluation"] = means_in_evaluation(device, file.parent)
    found["box weights"] = box_weights(device)
    if device == 0:
        torch.save(found, file)
    dist.destroy_process_group()


def main(file: Path) -> None:
    """Both devices: the second is forked, for what they import takes longer than what they do."""
    second = multiprocessing.get_context("fork").Process(target=measure, args=(1, file))
    second.start()
    measure(0, file)
    second.join()
    sys.exit(second.exitcode)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
