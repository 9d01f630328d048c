"""What others published, in plain form, to compare with: parameters, pairwise sums and loops over the positives.

Written from the formulas. Each loop returns the value and the gradient to the logits, of the logits' dtype. Symbols as
in `paploss.losses.error_driven`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Interior knots of the published RetinaNet functions H2, I2, I3, I1, H1.
_KNOTS = [
    [0.4182, 0.0277, 0.4948, 0.2187, 0.6882, 0.2624, 0.8020, 0.6688],
    [0.1279, 0.3696, 0.3056, 0.4708, 0.5198, 0.5290, 0.6983, 0.6709],
    [0.0931, 0.0289, 0.3607, 0.5585, 0.4823, 0.7131, 0.6291, 0.8162],
    [0.4914, 0.1499, 0.5492, 0.1664, 0.6259, 0.3051, 0.7945, 0.6195],
    [0.4130, 0.0798, 0.4356, 0.3571, 0.5361, 0.7063, 0.8097, 0.9083],
]
CONTROL_POINTS = torch.tensor([[0, 0, *row, 1, 1] for row in _KNOTS], dtype=torch.float64).view(5, 6, 2)

EVERY_PAIR = 2**62


def pairwise(
    logits: Tensor, quality: Tensor, targets: Tensor, control_points: Tensor, pairs_at_once: int = EVERY_PAIR
) -> Callable[[], None]:
    """Forward and backward of the Parameterized AP Loss over `[P, N]` pairs, by autograd; all at once, as published."""

    def function(points: Tensor, u: Tensor) -> Tensor:
        x, y = points[:, 0].contiguous(), points[:, 1]
        k = torch.bucketize(u.detach(), x).clamp(1, len(x) - 1) - 1
        return y[k] + (u - x[k]) * ((y[1:] - y[:-1]) / (x[1:] - x[:-1]))[k]

    def step() -> None:
        logits.grad = quality.grad = None
        h2, i2, i3, i1, h1 = control_points.to(logits.dtype)
        is_valid = targets >= 0
        positives = (targets == 1).nonzero().squeeze(1)
        for i in torch.split(positives, max(1, pairs_at_once // len(targets))):
            weights = 1 - function(i2, torch.where(targets == 1, quality, 0.0)[is_valid])
            z = ((logits[is_valid][None, :] - logits[i][:, None]) / 2 + 0.5).clamp(0, 1)
            a = (function(h2, z) * weights).sum(1)
            b = function(h1, z.detach()).sum(1).clamp_min(1e-6)
            u = quality[i]
            loss = (1 - function(i1, u) + function(i3, u) * a / b).sum() / (len(positives) + 1e-8)
            loss.backward()  # type: ignore[no-untyped-call]

    return step


def looped_ap(logits: Tensor, targets: Tensor, delta: float = 1.0) -> tuple[Tensor, Tensor]:
    """AP Loss; targets 1, 0, -1."""
    positives, negatives = _entries(logits, targets, delta)
    s, s_negative = logits[positives], logits[negatives]
    at_positives, at_negatives = torch.zeros_like(s), torch.zeros_like(s_negative)
    errors, best = torch.zeros_like(s), logits.new_zeros(())
    for i in s.argsort():
        above, false_above = _relations(s, s_negative, i, delta)
        a, b = above.sum() + 0.5, false_above.sum()
        precision = a / (a + b)
        factor = torch.where(precision < best, (1 - best) / (1 - precision), 1.0)
        best = torch.maximum(best, precision)
        errors[i] = 1 - best
        at_positives[i] = best - 1
        at_negatives += false_above / (a + b) * factor
    return errors.mean(), _gradient(logits, positives, at_positives, negatives, at_negatives)


def looped_alrp(logits: Tensor, targets: Tensor, errors: Tensor, delta: float = 1.0) -> tuple[Tensor, Tensor]:
    """Classification part of aLRP Loss; targets 1, 0, -1; regression errors `[P]`."""
    positives, negatives = _entries(logits, targets, delta)
    s, s_negative = logits[positives], logits[negatives]
    at_positives, at_negatives = torch.zeros_like(s), torch.zeros_like(s_negative)
    values = torch.zeros_like(s)
    for i in range(len(s)):
        above, false_above = _relations(s, s_negative, i, delta)
        above[i] = 0
        count = false_above.sum()
        rank = 1 + above.sum() + count
        values[i] = count / rank
        if count > 1e-5:
            error = ((above * errors).sum() + count) / rank
            at_positives[i] = -error
            at_negatives += false_above * (error / count)
    return values.mean(), _gradient(logits, positives, at_positives, negatives, at_negatives)


def looped_rank_sort(logits: Tensor, targets: Tensor, delta: float = 0.5) -> tuple[Tensor, Tensor]:
    """Rank & Sort Loss; targets: IoU of positives, 0, -1."""
    positives, negatives = _entries(logits, targets, delta)
    s, s_negative, y = logits[positives], logits[negatives], targets[positives]
    at_positives, at_negatives = torch.zeros_like(s), torch.zeros_like(s_negative)
    values = torch.zeros_like(s)
    for i in range(len(s)):
        above, false_above = _relations(s, s_negative, i, delta)
        count = false_above.sum()
        ranking = count / (above.sum() + count)
        if count > 1e-10:
            at_positives[i] -= ranking
            at_negatives += false_above * (ranking / count)
        is_sorted = y >= y[i]
        well_sorted, missorted = above * is_sorted, above * ~is_sorted
        sorting = (above * (1 - y)).sum() / above.sum() - (well_sorted * (1 - y)).sum() / well_sorted.sum()
        blame = missorted.sum()
        if blame > 1e-10:
            at_positives[i] -= sorting
            at_positives += missorted * (sorting / blame)
        values[i] = ranking + sorting
    return values.mean(), _gradient(logits, positives, at_positives, negatives, at_negatives)


def _entries(logits: Tensor, targets: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """Indices of the positives and of the negatives within reach."""
    positives = (targets > 0).nonzero().squeeze(1)
    return positives, ((targets == 0) & (logits >= logits[positives].min() - delta)).nonzero().squeeze(1)


def _relations(s: Tensor, s_negative: Tensor, i: Tensor | int, delta: float) -> tuple[Tensor, Tensor]:
    """H_ij of one positive i with all positives, and with all negatives."""
    above, false_above = (((x - s[i]) / (2 * delta) + 0.5).clamp(0, 1) for x in (s, s_negative))
    return above, false_above


def _gradient(
    logits: Tensor, positives: Tensor, at_positives: Tensor, negatives: Tensor, at_negatives: Tensor
) -> Tensor:
    gradient = torch.zeros_like(logits)
    gradient[positives] = at_positives / len(positives)
    gradient[negatives] = at_negatives / len(positives)
    return gradient
