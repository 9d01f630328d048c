"""Rank & Sort Loss (Oksuz et al., ICCV 2021), evaluated exactly without a loop over the positives.

Symbols as in `error_driven`, and

| symbol   | meaning                                                                              | shape |
|----------|--------------------------------------------------------------------------------------|-------|
| y        | IoU of the positives with their boxes                                                | `[P]` |
| M_i, A_i | sums of H_ij and of (1 - y_j) H_ij over the missorted: j in P with y_j < y_i         | `[P]` |
| B_i      | sum of (1 - y_j) H_ij over the well sorted: j in P with y_j >= y_i, j = i included   | `[P]` |

    ranking error  e_i = N_i / (R_i + N_i)
    sorting error  x_i = (A_i + B_i) / R_i - B_i / (R_i - M_i)

Each error moves its positive up. The ranking error moves negatives down (`error_driven`), the sorting error the
missorted positives, in proportion to H_ij: the gradient at positive j is

    (-e_j - x_j + sum over i in P with y_i > y_j of (x_i / M_i) H_ij) / |P|
"""

from typing import NamedTuple

import torch
from torch import Tensor

from paploss.losses.dominance_sums import LowerPairs
from paploss.losses.entries import QUALITY_SLACK
from paploss.losses.error_driven import SMALLEST_COUNT, check_entries, rank_positives, with_gradient
from paploss.losses.piecewise import TruncatedPowers


class RankSortErrors(NamedTuple):
    """The parts of Rank & Sort Loss, scalars; the loss is their sum."""

    ranking: Tensor
    """Mean of e: positives below negatives."""
    sorting: Tensor
    """Mean of x: positives below others that fit their boxes worse."""


def rank_sort_loss(logits: Tensor, targets: Tensor, delta: float = 0.5) -> RankSortErrors:
    """Rank & Sort Loss of one batch: exact values and defined gradients, without a loop over the positives.

    Time O((N + |P|) log |P|), memory O(N + |P|). The gradients are the error-driven updates of the paper, one for each
    error, not derivatives. Ignored entries take no part. Without a positive both errors are 0, and so is every
    gradient. Sums are accumulated in float64 for every input dtype. On a GPU one wait for the device remains; values
    are checked on the CPU only, and on a GPU NaN input gives NaN errors.

    Args:
        logits: s, `[N]` floating. Half precision is taken to float32 first.
        targets: `[N]`: the IoU of a positive, in (0, 1] (1e-6 beyond is clamped), 0 for a negative, -1 for an ignored
            entry. So a positive whose IoU is exactly 0 must be given a small number instead.
        delta: half the width of the slope of H, in units of s, above 0.

    Returns:
        Both errors, of the logits' dtype, at least float32, in [0, 1].

    Raises:
        ValueError: shapes that do not match, a delta that is not above 0; on the CPU also targets other than these, NaN
            logits of valid entries, infinite logits of positives.

    Source: Oksuz et al., "Rank & Sort Loss for Object Detection and Instance Segmentation", ICCV 2021.
    """
    is_positive, is_negative = (targets > 0) & (targets <= 1 + QUALITY_SLACK), targets == 0
    check_entries(logits, targets, is_positive, is_negative, delta=delta, expected="an IoU in (0, 1], 0 or -1")
    scores = logits if logits.dtype == torch.float64 else logits.float()
    ranking = rank_positives(scores, is_positive, is_negative, delta)
    if ranking is None:
        nothing = scores[:0].sum()  # 0, with a graph
        return RankSortErrors(nothing, nothing)
    true_positives, false_positives = ranking.true_positives, ranking.false_positives
    ranking_errors = false_positives / (true_positives + false_positives)

    iou = targets.index_select(0, ranking.positives).double().clamp_max(1)
    worse = LowerPairs(TruncatedPowers.ramp(delta, logits.device), ranking.scores, iou)
    missorted, missorted_error = worse.sums(torch.stack((torch.ones_like(iou), 1 - iou), dim=1)).unbind(1)
    is_sorted = missorted < SMALLEST_COUNT
    missorted = missorted.masked_fill(is_sorted, 0.0)
    missorted_error = torch.minimum(missorted_error.clamp_min(0), missorted)  # rounding aside, it is there already
    sorted_error = ranking.weighted_true_positives(1 - iou) - missorted_error
    # x_i, in a form without a difference of nearly equal means: (A - B M / (R - M)) / R
    sorting_errors = missorted_error - sorted_error * missorted / (true_positives - missorted)
    sorting_errors = sorting_errors / true_positives
    shares = sorting_errors / missorted.masked_fill(is_sorted, 1.0)
    inherited = worse.transposed_sums(shares)

    count = iou.numel()
    errors = with_gradient(
        scores,
        torch.stack((ranking_errors.mean(), sorting_errors.mean())),
        ranking,
        at_positives=torch.stack((-ranking_errors, inherited - sorting_errors)) / count,
        at_negatives=ranking.errors_of_negatives(ranking_errors / count),
    )
    return RankSortErrors(*errors)


class RankSortLoss(torch.nn.Module):
    """`rank_sort_loss` with a fixed delta."""

    def __init__(self, delta: float = 0.5) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, logits: Tensor, targets: Tensor) -> RankSortErrors:
        """The ranking and the sorting error of logits and targets, both `[N]`; the loss is their sum."""
        return rank_sort_loss(logits, targets, self.delta)

    def extra_repr(self) -> str:
        return f"delta={self.delta}"
