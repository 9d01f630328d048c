"""aLRP Loss (Oksuz et al., NeurIPS 2020), evaluated exactly without a loop over the positives.

Symbols as in `error_driven`. With rank_i = R_i + 1/2 + N_i, so that an entry counts itself fully, and the regression
error E_i of each positive,

    L_cls = mean of N_i / rank_i
    L_reg = mean of (sum of E_j over the positives j down to i in descending score) / stop_gradient(rank_i)
    e_i   = (N_i + sum over j in P, j != i, of H_ij E_j) / rank_i where N_i > 1e-5, else 0
"""

from typing import NamedTuple

import torch
from torch import Tensor

from paploss.losses.buffers import Float64Buffers
from paploss.losses.entries import QUALITY_SLACK
from paploss.losses.error_driven import check_entries, rank_positives, with_gradient

FEWEST_FALSE_POSITIVES = 1e-5
"""With N_i up to this, nothing moves on behalf of positive i."""

FIRST_BOX_WEIGHT = 50.0
"""The published weight of L_reg in the first epoch."""


class ALRP(NamedTuple):
    """The parts of aLRP Loss. The loss is classification + weight * regression, see `ALRPLoss`."""

    classification: Tensor
    """L_cls, scalar; its gradient reaches the logits."""
    regression: Tensor
    """L_reg, scalar; its gradient reaches the regression errors."""
    rank: Tensor
    """Rank of each positive among all entries, `[P]`, in the order of index; no gradient."""
    order: Tensor
    """The positives (0 to P - 1) by ascending score, then index, `[P]` int64."""


def alrp_loss(logits: Tensor, targets: Tensor, regression_error: Tensor, delta: float = 1.0) -> ALRP:
    """aLRP Loss of one batch: exact values and defined gradient, in O((N + |P|) log |P|) time and O(N + |P|) memory.

    The gradient of L_cls to the logits is the error-driven update of the paper; the regression errors enter it, but get
    none back. L_reg is differentiable in the regression errors. Ignored entries take no part. Without a positive both
    losses are 0, and so is every gradient. Sums are accumulated in float64 for every input dtype. On a GPU one wait for
    the device remains; values are checked on the CPU only, and on a GPU NaN input gives a NaN loss.

    Args:
        logits: s, `[N]` floating. Half precision is taken to float32 first.
        targets: `[N]`, each 1 (positive), 0 (negative) or -1 (ignored).
        regression_error: E, `[P]` floating, not negative, of the positives in the order of index. As published
            (1 - GIoU) / (2 (1 - tau)), with tau the IoU from which a box is positive, 0.5 (0.7 in an RPN).
        delta: half the width of the slope of H, in units of s, above 0.

    Returns:
        Both losses in their input's dtype, at least float32; the ranks in that of the logits.

    Raises:
        ValueError: shapes that do not match (on every device: the number of positives too), a delta that is not above
            0; on the CPU also targets other than 1, 0, -1, NaN logits of valid entries, infinite logits of positives,
            regression errors that are negative (by more than 1e-6) or not finite.

    Source: Oksuz et al., "A Ranking-based, Balanced Loss Function Unifying Classification and Localisation in Object
        Detection", NeurIPS 2020.
    """
    is_positive, is_negative = targets == 1, targets == 0
    check_entries(logits, targets, is_positive, is_negative, delta=delta, expected="1, 0 or -1")
    scores, box_errors = (x if x.dtype == torch.float64 else x.float() for x in (logits, regression_error))
    ranking = rank_positives(scores, is_positive, is_negative, delta)
    count = 0 if ranking is None else ranking.positives.numel()
    if regression_error.shape != (count,):
        received = list(regression_error.shape)
        raise ValueError(f"regression_error: expected shape [{count}], one for each positive, received {received}")
    if ranking is None:
        nothing = scores.detach()[:0]
        return ALRP(scores[:0].sum(), box_errors.sum(), nothing, nothing.long())
    if box_errors.device.type == "cpu":
        is_wrong = ~((box_errors >= -QUALITY_SLACK) & (box_errors < torch.inf))
        if bool(is_wrong.any()):
            wrong = box_errors.detach()[is_wrong][0].item()
            raise ValueError(f"regression_error: expected finite numbers, not negative, received {wrong}")

    false_positives, rank = ranking.false_positives, ranking.true_positives + 0.5 + ranking.false_positives
    ascending_errors = box_errors.double().index_select(0, ranking.order)
    detached = ascending_errors.detach()
    of_others = ranking.weighted_true_positives(detached) - detached / 2
    errors = ((false_positives + of_others) / rank).where(false_positives > FEWEST_FALSE_POSITIVES, 0.0)
    (classification,) = with_gradient(
        scores,
        (false_positives / rank).mean(0, keepdim=True),
        ranking,
        at_positives=-errors[None] / count,
        at_negatives=ranking.errors_of_negatives(errors / count),
    )
    regression = (ascending_errors.flip(0).cumsum(0) / rank.flip(0)).mean()
    ranks = torch.empty_like(rank).scatter_(0, ranking.order, rank)
    return ALRP(classification, regression.to(box_errors.dtype), ranks.to(scores.dtype), ranking.order)


class ALRPLoss(Float64Buffers):
    """`alrp_loss` with its self-balancing: once per epoch the box part is weighted up to the classification part.

    Call `end_epoch` after each training epoch. Weight and sums are buffers, so a resumed epoch continues where it was;
    where several processes train, each balances by its own share of the data unless `epoch_sums` is made their mean or
    sum before `end_epoch`.

    Args:
        delta: see `alrp_loss`.
        box_weight: w of the first epoch.
    """

    box_weight: Tensor
    epoch_sums: Tensor

    def __init__(self, delta: float = 1.0, box_weight: float = FIRST_BOX_WEIGHT) -> None:
        super().__init__()
        self.delta = delta
        self.register_buffer("box_weight", torch.tensor(box_weight, dtype=torch.float64))
        self.register_buffer("epoch_sums", torch.zeros(2, dtype=torch.float64))

    def forward(self, logits: Tensor, targets: Tensor, regression_error: Tensor) -> tuple[Tensor, Tensor]:
        """L_cls and w L_reg, two scalars whose sum is the loss; arguments as in `alrp_loss`.

        In training mode both are remembered for `end_epoch`.
        """
        parts = alrp_loss(logits, targets, regression_error, self.delta)
        if self.training:
            self.epoch_sums += torch.stack((parts.classification.detach().double(), parts.regression.detach().double()))
        return parts.classification, self.box_weight.to(parts.regression.dtype) * parts.regression

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Set w to (mean L_cls + mean L_reg) / mean L_reg of the epoch; it stays if L_reg was 0 all along."""
        classification, regression = self.epoch_sums
        self.box_weight.copy_(torch.where(regression > 0, (classification + regression) / regression, self.box_weight))
        self.epoch_sums.zero_()

    def extra_repr(self) -> str:
        return f"delta={self.delta}"
