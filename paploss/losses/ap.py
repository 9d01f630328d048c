"""AP Loss (Chen et al., CVPR 2019), evaluated exactly without a loop over the positives.

Symbols as in `error_driven`. With a_i = R_i + 1/2, so that an entry counts itself fully, the precision at positive i is
a_i / (a_i + N_i). The loss is written with its complement,

    q_i = N_i / (a_i + N_i),   e_i = the least q of the positives that score no higher than i,   L = mean of e

where taking the least is the interpolation of the precision. (Published is the factor e_i / q_i / (a_i + N_i) at the
negatives, which is e_i / N_i.)
"""

import torch
from torch import Tensor

from paploss.losses.error_driven import check_entries, rank_positives, with_gradient


def ap_loss(logits: Tensor, targets: Tensor, delta: float = 1.0) -> Tensor:
    """AP Loss of one batch: exact value and defined gradient, in O((N + |P|) log |P|) time and O(N + |P|) memory.

    The gradient is the error-driven update of the paper, not the derivative of the value. Ignored entries take no part.
    Without a positive the loss is 0 and every gradient is 0. Sums are accumulated in float64 for every input dtype. On
    a GPU one wait for the device remains; values are checked on the CPU only, and on a GPU NaN input gives a NaN loss.

    Args:
        logits: s, `[N]` floating. Half precision is taken to float32 first.
        targets: `[N]`, each 1 (positive), 0 (negative) or -1 (ignored).
        delta: half the width of the slope of H, in units of s, above 0.

    Returns:
        Scalar of the logits' dtype, at least float32, in [0, 1].

    Raises:
        ValueError: shapes that do not match, a delta that is not above 0; on the CPU also targets other than 1, 0, -1,
            NaN logits of valid entries, infinite logits of positives.

    Source: Chen et al., "Towards Accurate One-Stage Object Detection with AP-Loss", CVPR 2019; with the gradient as
        published with aLRP Loss (Oksuz et al., NeurIPS 2020).
    """
    is_positive, is_negative = targets == 1, targets == 0
    check_entries(logits, targets, is_positive, is_negative, delta=delta, expected="1, 0 or -1")
    scores = logits if logits.dtype == torch.float64 else logits.float()
    ranking = rank_positives(scores, is_positive, is_negative, delta)
    if ranking is None:
        return scores[:0].sum()  # 0, with a graph
    share = ranking.false_positives / (ranking.true_positives + 0.5 + ranking.false_positives)
    errors = interpolate(share)
    count = errors.numel()
    return with_gradient(
        scores,
        errors.mean(0, keepdim=True),
        ranking,
        at_positives=-errors[None] / count,
        at_negatives=ranking.errors_of_negatives(errors / count),
    )[0]


def interpolate(errors: Tensor) -> Tensor:
    """The least error of the positives that score no higher, `[P]`, given errors by ascending score, `[P]`."""
    return errors.cummin(0).values


class APLoss(torch.nn.Module):
    """`ap_loss` with a fixed delta."""

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of logits and targets, both `[N]`; a scalar."""
        return ap_loss(logits, targets, self.delta)

    def extra_repr(self) -> str:
        return f"delta={self.delta}"
