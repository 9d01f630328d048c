"""Losses whose gradient is defined instead of derived: what AP, aLRP and Rank & Sort Loss have in common.

| symbol  | meaning                                                                       | shape |
|---------|-------------------------------------------------------------------------------|-------|
| s       | classification logits of all entries (anchor x class, all images)             | `[N]` |
| P, F    | the positives and the negatives; ignored entries are in neither               |       |
| H(d)    | clamp(d / (2 delta) + 1/2, 0, 1) of a score difference: 1/2 at d = 0          |       |
| H_ij    | H(s_j - s_i), how much entry j is ranked above the positive i                 |       |
| R_i     | sum over j in P of H_ij, the term j = i (a half) included                     | `[P]` |
| N_i     | sum over j in F of H_ij, the number of false positives above i                | `[P]` |
| e_i     | error of positive i that its false positives cause                            | `[P]` |

The value is a mean of errors over the positives. Its gradient tells positive i to move up by e_i, and the negatives to
move down by as much, in proportion to H_ij:

    g_i = -e_i / |P|  at positives,   g_j = sum over i in P of (e_i / N_i) H_ij / |P|  at negatives

R, N and the sum at the negatives are sums over all pairs of scores, which `pairwise_sums` forms without pairs.
"""

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from paploss.losses.entries import check_logits, select_entries
from paploss.losses.pairwise_sums import PlacedScores, SortedBreakpoints
from paploss.losses.piecewise import TruncatedPowers

SMALLEST_COUNT = 1e-10
"""A sum of H below this is rounding: there is no false positive to assign an error to."""


@dataclass(frozen=True)
class Ranking:
    """Where the positives of a batch rank, among each other and among the negatives within their reach."""

    positives: Tensor
    """Indices, by ascending score, then index, `[P]` int64. All that follows is in this order."""
    order: Tensor
    """Place of each among the positives in the order of index, `[P]` int64."""
    negatives: Tensor
    """Indices of those n negatives that H is not 0 for, `[n]` int64."""
    scores: Tensor
    """s_i of the positives, ascending, `[P]` float64."""
    true_positives: Tensor
    """R, `[P]` float64."""
    false_positives: Tensor
    """N, `[P]` float64."""
    _pairs: SortedBreakpoints
    _placed_negatives: PlacedScores

    def weighted_true_positives(self, weights: Tensor) -> Tensor:
        """sum over j in P of w_j H_ij, `[P]`, given w `[P]` float64."""
        (ramp,) = self._pairs.functions
        return ramp.sums(self._pairs.place(self.scores, weights))

    def errors_of_negatives(self, errors: Tensor) -> Tensor:
        """sum over i in P of (e_i / N_i) H_ij for each of `negatives`, `[n]` float64, given e `[P]` float64."""
        (ramp,) = self._pairs.functions
        is_alone = self.false_positives < SMALLEST_COUNT
        shares = (errors / self.false_positives.masked_fill(is_alone, 1.0)).masked_fill(is_alone, 0.0)
        return ramp.transposed_sums(shares, self._placed_negatives)


def rank_positives(logits: Tensor, is_positive: Tensor, is_negative: Tensor, delta: float) -> Ranking | None:
    """Rank the positives of a batch.

    Args:
        logits: s, `[N]` floating.
        is_positive: `[N]` bool.
        is_negative: `[N]` bool.
        delta: half the width of the slope of H, in units of s, above 0.

    Returns:
        The ranking, detached from the graph; None without a positive.
    """
    logits = logits.detach()
    positives, negatives = select_entries(logits, is_positive, is_negative, reach=delta)
    if positives.numel() == 0:
        return None
    scores, order = logits.index_select(0, positives).sort(stable=True)
    pairs = SortedBreakpoints(scores, [TruncatedPowers.ramp(delta, logits.device)])
    (ramp,) = pairs.functions
    placed_negatives = pairs.place(logits.index_select(0, negatives))
    return Ranking(
        positives.index_select(0, order),
        order,
        negatives,
        scores.double(),
        true_positives=ramp.sums(pairs.place(scores)),
        # Rounding can take an empty sum below 0.
        false_positives=ramp.sums(placed_negatives).clamp_min(0),
        _pairs=pairs,
        _placed_negatives=placed_negatives,
    )


def check_entries(
    logits: Tensor, targets: Tensor, is_positive: Tensor, is_negative: Tensor, *, delta: float, expected: str
) -> None:
    """Check shapes, delta and, on the CPU alone, targets and logits.

    Raises:
        ValueError: a target is neither positive nor negative nor -1 (then `expected` says what it should be), a valid
            logit is NaN or that of a positive infinite, shapes differ, or delta is not above 0.
    """
    if logits.ndim != 1 or targets.shape != logits.shape:
        raise ValueError(
            f"logits, targets: expected one shape [N], received {list(logits.shape)}, {list(targets.shape)}"
        )
    if not (isfinite(delta) and delta > 0):
        raise ValueError(f"delta: expected a finite number above 0, received {delta}")
    if logits.device.type != "cpu" or logits.numel() == 0:
        return  # reading values back would stop the device
    is_valid = is_positive | is_negative
    is_known = is_valid | (targets == -1)
    if not bool(is_known.all()):
        raise ValueError(f"targets: expected {expected}, received {targets[~is_known][0].item()}")
    check_logits(logits, is_positive, is_valid)


def with_gradient(
    logits: Tensor, values: Tensor, ranking: Ranking, at_positives: Tensor, at_negatives: Tensor
) -> Tensor:
    """Values with the gradients to the logits that are said to be theirs.

    Args:
        logits: `[N]` floating.
        values: `[k]` float64.
        ranking: of the logits.
        at_positives: gradient of each value at the positives, `[k, P]` float64.
        at_negatives: gradient of values[0] at `ranking.negatives`, `[n]` float64; that of the other values is 0.

    Returns:
        The values, `[k]`, of the logits' dtype.
    """
    result: Tensor = _DefinedGradient.apply(  # type: ignore[no-untyped-call]
        logits, values, ranking.positives, at_positives, ranking.negatives, at_negatives.to(logits.dtype)
    )
    return result


class _DefinedGradient(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (autograd passes by position)
        ctx: FunctionCtx,
        logits: Tensor,
        values: Tensor,
        positives: Tensor,
        at_positives: Tensor,
        negatives: Tensor,
        at_negatives: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(positives, at_positives, negatives, at_negatives)
        ctx.entry_count = logits.numel()  # type: ignore[attr-defined]
        return values.to(logits.dtype, copy=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_values: Tensor) -> tuple[Tensor | None, ...]:
        positives, at_positives, negatives, at_negatives = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = grad_values.new_zeros(ctx.entry_count)  # type: ignore[attr-defined]
        gradient.scatter_(0, negatives, grad_values[0] * at_negatives)
        gradient.scatter_(0, positives, (grad_values.double() @ at_positives).to(gradient.dtype))
        return gradient, None, None, None, None, None
