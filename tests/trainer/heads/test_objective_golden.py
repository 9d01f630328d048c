"""The losses through the objective against the numbers of the published programs.

Logits and targets of the golden cases are given as one class of as many candidates, and each positive gets a box that
lies in its object and has the wanted share of its area, so that IoU and GIoU are that share.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from paploss.trainer.heads.objective import RankingObjective
from paploss.trainer.heads.quality import DeltaCorners

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "losses.npz")
CASES = range(7)
STDS = (0.1, 0.1, 0.2, 0.2)


def golden(key: str) -> Tensor:
    return torch.from_numpy(GOLDEN[key])


def losses_and_gradient(case: int, share: Tensor, **objective) -> tuple[dict[str, Tensor], Tensor]:
    """Losses of a golden case whose positives have boxes of a `share`, and the gradient of all but the box loss."""
    logits, targets = golden(f"pap{case}_logits").requires_grad_(), golden(f"pap{case}_targets")
    deltas = torch.zeros(len(logits), 4, dtype=torch.float64)
    deltas[targets == 1, 2:] = share[:, None].log() / 2 / 0.2
    losses = RankingObjective(**objective).losses_of(
        logits[:, None],
        (targets != 1).long(),
        (targets >= 0).double(),
        deltas,
        torch.zeros_like(deltas),
        corners=DeltaCorners((0, 0, 0, 0), STDS),
    )
    of_scores = sum(value for part, value in losses.items() if part != "loss_bbox")
    (gradient,) = torch.autograd.grad(of_scores, logits)
    return losses, gradient


def assert_equal(found: tuple[Tensor, ...], *keys: str) -> None:
    expected = tuple(golden(key).reshape(value.shape) for key, value in zip(keys, found, strict=True))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def quality(case: int) -> Tensor:
    return golden(f"pap{case}_quality")[golden(f"pap{case}_targets") == 1]


@pytest.mark.parametrize("case", CASES)
def test_parameterized_ap(case):
    top_k = int(golden(f"pap{case}_num_topk"))
    points = golden(f"pap{case}_control_points").view(5, -1, 2).tolist()
    competitors = top_k if top_k < golden(f"pap{case}_logits").numel() else None
    losses, gradient = losses_and_gradient(
        case, quality(case), name="parameterized_ap", control_points=points, quality="iou", top_k=competitors
    )
    assert_equal((losses["loss_rank"], gradient), f"pap{case}_loss", f"pap{case}_grad_logits")


@pytest.mark.parametrize("case", CASES)
def test_ap(case):
    losses, gradient = losses_and_gradient(case, quality(case), name="ap_l1")
    assert_equal((losses["loss_cls"], gradient), f"ap{case}_loss", f"ap{case}_grad_logits")


@pytest.mark.parametrize("case", CASES)
def test_alrp(case):
    # tau is 0.5, so E = 1 - GIoU
    losses, gradient = losses_and_gradient(case, 1 - golden(f"alrp{case}_reg_error"), name="alrp")
    found = losses["loss_cls"], losses["loss_bbox"] / 50, gradient
    assert_equal(found, f"alrp{case}_cls_loss", f"alrp{case}_box_loss", f"alrp{case}_grad_logits")


@pytest.mark.parametrize("case", CASES)
def test_rank_sort(case):
    losses, gradient = losses_and_gradient(case, quality(case), name="rank_sort")
    found = losses["loss_rank"], losses["loss_sort"], gradient
    assert_equal(found, f"rs{case}_ranking_error", f"rs{case}_sorting_error", f"rs{case}_grad_logits")
