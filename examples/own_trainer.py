"""An example of your own training program: a plain PyTorch loop that fulfils the trainer's contract, with a job's loss.

    paploss trainer-check python examples/own_trainer.py

It is called with a job file and a folder, reports events as JSON lines, writes a checkpoint when it is asked to stop,
and continues from there. The detector is minimal: at each of 5,000 places it predicts whether there is an object and
how far its box reaches in four directions. Everything random is seeded by the job's seed and the step.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch.nn.functional import softplus

from paploss.losses import ParameterizedAPLoss

STEPS, PLACES = 100, 5_000
INTERRUPTED = 75
UNDERSTOOD = {"control_points", "gradient_scale", "quality"}  # of the last one, IoU alone: it is no part of a search


def main() -> int:
    """Train one job; the exit status."""
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("--state", type=Path, required=True)
    options = parser.parse_args()
    try:
        job = json.loads(options.job.read_bytes())
        (head,) = job["loss"]["heads"].values()
        if unknown := sorted(head.keys() - UNDERSTOOD):  # what is not used may not be searched
            raise ValueError(f"loss: this program knows no {', '.join(unknown)}")
    except (OSError, ValueError, KeyError) as error:
        emit(event="result", outcome="failed", error_kind="user", error=f"{options.job}: {error!r}")
        return 0
    options.state.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    training = Training(head, job["seed"], options.state / "checkpoint.pt")
    emit(event="start", total_iterations=STEPS, resumed_iteration=training.step)
    while training.step < STEPS:
        if stop:
            training.save()
            return INTERRUPTED
        emit(event="progress", iteration=training.step, total_iterations=STEPS, loss=training.take_step())
    ap = training.measure()
    metrics = dict.fromkeys(("ap_small", "ap_medium", "ap_large"), -1.0) | dict.fromkeys(("ap", "ap50", "ap75"), ap)
    emit(event="evaluation", iteration=STEPS, total_iterations=STEPS, metrics=metrics)
    emit(event="result", outcome="succeeded", reward=ap, metrics=metrics, iterations=STEPS)
    return 0


def emit(**event: object) -> None:
    """Send an event to the worker: one JSON object on a line of standard output."""
    print(json.dumps(event), flush=True)


def scenes(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of all places, what their boxes reach, and 1 where there is an object."""
    features = torch.randn(PLACES, 8, generator=torch.Generator().manual_seed(seed))
    return features, softplus(features[:, :4]), (features[:, 4:].sum(dim=1) > 4).long()


def iou_of(reach: torch.Tensor, true_reach: torch.Tensor) -> torch.Tensor:
    """IoU of boxes around the same places, given how far they reach left, up, right and down."""

    def area(box: torch.Tensor) -> torch.Tensor:
        return (box[:, 0] + box[:, 2]) * (box[:, 1] + box[:, 3])

    common = area(torch.minimum(reach, true_reach))
    return common / (area(reach) + area(true_reach) - common)


class Training:
    """Model, optimiser and step, from their checkpoint if there is one."""

    def __init__(self, head: dict, seed: int, file: Path) -> None:
        torch.manual_seed(seed)
        self.model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 5))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.loss = ParameterizedAPLoss(torch.tensor(head["control_points"]))
        self.gradient_scale = head["gradient_scale"]
        self.seed, self.file, self.step = seed, file, 0
        if file.exists():
            self.step, model, optimizer = torch.load(file, weights_only=True)
            self.model.load_state_dict(model)
            self.optimizer.load_state_dict(optimizer)

    def take_step(self) -> float:
        """One step; its loss."""
        features, true_reach, targets = scenes(self.seed * STEPS + self.step)
        outputs = self.model(features)
        boxes = outputs[:, 1:]
        boxes = self.gradient_scale * boxes + ((1 - self.gradient_scale) * boxes).detach()  # scales the gradient alone
        value = self.loss(outputs[:, 0], iou_of(softplus(boxes), true_reach) * targets, targets)
        self.optimizer.zero_grad()
        value.backward()
        self.optimizer.step()
        self.step += 1
        return value.item()

    @torch.no_grad()
    def measure(self) -> float:
        """Average precision on scenes that no training sees; an object is found if its box has an IoU above 0.75."""
        features, true_reach, targets = scenes(2**40)
        outputs = self.model(features)
        found = targets * (iou_of(softplus(outputs[:, 1:]), true_reach) > 0.75)
        ranked = found[outputs[:, 0].argsort(descending=True)]
        precision = ranked.cumsum(0) / torch.arange(1, PLACES + 1)
        return float((precision * ranked).sum() / targets.sum())

    def save(self) -> None:
        """Write the checkpoint atomically."""
        new = self.file.with_suffix(".new")
        torch.save((self.step, self.model.state_dict(), self.optimizer.state_dict()), new)
        os.replace(new, self.file)
        emit(event="checkpoint", iteration=self.step, path=str(self.file))


if __name__ == "__main__":
    sys.exit(main())
