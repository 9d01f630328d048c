"""When a training has diverged: its loss is not finite, or gives no gradient, for many steps in a row."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from paploss.trainer.minimised import head_loss
from paploss.trainer.profiles.recipe import Head

PATIENCE = 50
"""Consecutive failed steps of one head after which a training has diverged (as published)."""


def patience_of(total_iterations: int) -> int:
    """PATIENCE, or a tenth of a short schedule, at least 5."""
    return min(PATIENCE, max(5, total_iterations // 10))


class DivergenceWatch:
    """Counts each head's consecutive failed steps.

    A step is failed for a head whose loss or gradient is not finite, or whose gradient vanishes although its loss
    does not. A loss of exactly 0 comes from a batch without a positive: it is not counted.

    Args:
        detector: the detector, for the parameters of its heads.
        heads: the heads to watch.
        total_iterations: length of the schedule.
        failures: counts to resume from, by head; changed in place.
    """

    def __init__(
        self, detector: nn.Module, heads: tuple[Head, ...], total_iterations: int, failures: dict[str, int]
    ) -> None:
        self._heads = heads
        self._parameters = {head.name: list(detector.get_submodule(head.module).parameters()) for head in heads}
        self._patience = patience_of(total_iterations)
        self.failures = failures

    def measure(self, losses: Mapping[str, Any]) -> Tensor:
        """Per head the size of the loss and of the largest gradient entry, `[heads, 2]`, infinite for NaN.

        To be called after the backward pass.
        """
        rows = []
        for head in self._heads:
            gradients = [one.grad.abs().amax() for one in self._parameters[head.name] if one.grad is not None]
            rows.append(torch.stack((head_loss(losses, head).detach().abs(), torch.stack(gradients).amax())))
        return torch.stack(rows).nan_to_num(nan=torch.inf, posinf=torch.inf)  # else it would make infinity finite

    def update(self, measured: list[list[float]]) -> bool:
        """Counts one step; whether the training has diverged."""
        for head, (loss, gradient) in zip(self._heads, measured, strict=True):
            finite = math.isfinite(loss) and math.isfinite(gradient)
            if finite and gradient > 0:
                self.failures[head.name] = 0
            elif not finite or loss != 0:
                self.failures[head.name] = self.failures.get(head.name, 0) + 1
        return any(count > self._patience for count in self.failures.values())
