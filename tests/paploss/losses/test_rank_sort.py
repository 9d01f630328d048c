from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from paploss.losses import RankSortLoss, rank_sort_loss
from tests.paploss.losses.oracle import relative_errors

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "losses.npz")


@pytest.mark.parametrize("case", range(7))
def test_agrees_with_the_released_program(case: int, device: torch.device) -> None:
    def golden(key: str) -> Tensor:
        return torch.from_numpy(np.array(GOLDEN[key])).to(device)

    logits, labels = golden(f"pap{case}_logits").requires_grad_(), golden(f"pap{case}_targets")
    errors = rank_sort_loss(logits, torch.where(labels == 1, golden(f"pap{case}_quality"), labels))
    (errors.ranking + errors.sorting).backward()
    assert logits.grad is not None
    results = [errors.ranking.detach(), errors.sorting.detach(), logits.grad]
    expected = [golden(f"rs{case}_{name}") for name in ("ranking_error", "sorting_error", "grad_logits")]
    assert max(relative_errors(results, expected)) < 1e-9


def test_hand_computed() -> None:
    # The positive that fits better is below the one that fits worse, and both are below negatives.
    logits = torch.tensor([0.0, 10.0, 10.0, 20.0], requires_grad=True)
    errors = rank_sort_loss(logits, torch.tensor([0.9, 0.5, 0.0, 0.0]))
    torch.testing.assert_close(errors.ranking.detach(), torch.tensor((4 / 7 + 3 / 4) / 2))
    torch.testing.assert_close(errors.sorting.detach(), torch.tensor((0.55 / 1.5 - 0.1) / 2))
    (of_ranking,) = torch.autograd.grad(errors.ranking, logits, retain_graph=True)
    (of_sorting,) = torch.autograd.grad(errors.sorting, logits)
    torch.testing.assert_close(of_ranking, torch.tensor([-2 / 7, -3 / 8, 15 / 56, 11 / 28]))
    torch.testing.assert_close(of_sorting, torch.tensor([-2 / 15, 2 / 15, 0.0, 0.0]))


def test_well_sorted_positives_have_no_sorting_error() -> None:
    logits = torch.tensor([0.0, 1.5, 3.0, 1.0], requires_grad=True)
    sorting = rank_sort_loss(logits, torch.tensor([0.3, 0.6, 0.9, 0.0])).sorting
    (gradient,) = torch.autograd.grad(sorting, logits)
    assert sorting == 0
    assert not gradient.any()


def test_an_iou_above_1_by_rounding_counts_as_1() -> None:
    logits = torch.tensor([0.0, 0.2, 0.1])
    above, exact = (rank_sort_loss(logits, torch.tensor([iou, 0.5, 0.0])) for iou in (1 + 5e-7, 1.0))
    assert above == exact


def test_the_module_computes_the_function() -> None:
    logits, targets = torch.linspace(-1, 1, 20), torch.linspace(0, 1, 20)
    module = RankSortLoss(delta=0.25)
    assert module(logits, targets) == rank_sort_loss(logits, targets, 0.25)
    assert RankSortLoss()(logits, targets) == rank_sort_loss(logits, targets)
    assert repr(module) == "RankSortLoss(delta=0.25)"
