"""Sums over pairs that compare two things at once: the score, by a function, and a height, by which is lower.

| symbol | meaning                                                              | shape    |
|--------|----------------------------------------------------------------------|----------|
| s      | scores, ascending                                                    | `[P]`    |
| y      | heights                                                              | `[P]`    |
| f      | continuous piecewise linear function of s_j - s_i, 0 far below 0     |          |
| b_mi   | breakpoint s_i + o_m, right of which term m of f counts              | `[M, P]` |

The sum over the j below i (y_j < y_i) of w_j f(s_j - s_i) needs the sums of w_j and w_j s_j over the points j with
s_j > b_mi and y_j < y_i. The first condition leaves a range of points that reaches to the last one. The second is
followed through the bits of the ranks of y, from the highest down: at each bit the points are stably parted into those
with a 0 and those with a 1 (a wavelet matrix), so that what is left of a range stays a range. O(P log P) time and
memory, and no loop but over the bits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from trainer.losses.piecewise import TruncatedPowers


@dataclass(frozen=True)
class _Level:
    """One bit. The order of the points changes from level to level."""

    is_low: Tensor
    """Whether the rank of each point has a 0 here, `[P]` bool."""
    takes_low: Tensor
    """Whether the bound of each i has a 1 here: then the low points of its ranges are below it, `[P]` bool."""
    limits: Tensor
    """The end of the M ranges of each i, common to them, and the first point of each, `[M + 1, P]` int64."""
    next_places: Tensor
    """Where each point goes in the next level, `[P]` int64."""


class LowerPairs:
    """A function of s_j - s_i over all pairs with y_j < y_i.

    Args:
        f: of degree 1 and without jumps.
        scores: s, `[P]` float64, P >= 1, finite, ascending.
        heights: y, `[P]` floating.
    """

    def __init__(self, f: TruncatedPowers, scores: Tensor, heights: Tensor) -> None:
        self._slopes = f.coefficients[:, 1]
        # Measured from the lowest: a large offset common to all scores would cost digits.
        self._scores = scores - scores[0]
        self._breakpoints = self._scores + f.offsets[:, None]
        first = torch.searchsorted(self._scores, self._breakpoints, right=True)
        ascending, order = heights.sort()
        ranks = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        self._levels = _levels(ranks, first, bounds=torch.searchsorted(ascending, heights))

    def sums(self, weights: Tensor) -> Tensor:
        """sum over j with y_j < y_i of w_j f(s_j - s_i) for every i, `[P, k]`, given w `[P, k]` float64."""
        values = torch.cat((weights, weights * self._scores[:, None]), dim=1)
        totals = values.new_zeros(*self._breakpoints.shape, values.shape[1])
        for level in self._levels:
            low_sums = pad((values * level.is_low[:, None]).cumsum(0), (0, 0, 1, 0))
            at_limits = low_sums.index_select(0, level.limits.flatten()).view(-1, *totals.shape[1:])
            totals += (at_limits[0] - at_limits[1:]) * level.takes_low[:, None]
            values = torch.empty_like(values).index_copy_(0, level.next_places, values)
        counts, moments = totals.chunk(2, dim=2)
        return torch.einsum("m,mik->ik", self._slopes, moments - self._breakpoints[..., None] * counts)

    def transposed_sums(self, weights: Tensor) -> Tensor:
        """sum over i with y_j < y_i of c_i f(s_j - s_i) for every j, `[P]`, given c `[P]` float64."""
        slopes = weights * self._slopes[:, None]
        terms = (slopes, slopes * self._breakpoints)
        totals = weights.new_zeros(2, len(weights))
        for level in reversed(self._levels):
            # Running sums of what starts and ends at a point are sums over the ranges that hold it.
            changes = totals.new_zeros(2, len(weights) + 1)
            for change, term in zip(changes, terms, strict=True):
                taken = term * level.takes_low
                change.index_add_(0, level.limits.flatten(), torch.cat((-taken.sum(0), taken.flatten())))
            totals = totals.index_select(1, level.next_places) + changes.cumsum(1)[:, :-1] * level.is_low
        return totals[0] * self._scores - totals[1]


def _levels(ranks: Tensor, first: Tensor, bounds: Tensor) -> list[_Level]:
    """The levels, highest bit first.

    Args:
        ranks: of the points, `[P]` int64, a permutation of 0 to P - 1.
        first: the first point of each range, `[M, P]` int64, 0 to P.
        bounds: the rank that points must be below, for each i, `[P]` int64, 0 to P.
    """
    levels = []
    places = torch.arange(len(ranks), device=ranks.device)
    limits = torch.cat((torch.full_like(first[:1], len(ranks)), first))
    for bit in reversed(range(len(ranks).bit_length())):
        is_low = (ranks >> bit) & 1 == 0
        lows_before = pad(is_low.cumsum(0), (1, 0))
        low_count = lows_before[-1]
        next_places = torch.where(is_low, lows_before[:-1], low_count + places - lows_before[:-1])
        takes_low = (bounds >> bit) & 1 == 1
        levels.append(_Level(is_low, takes_low, limits, next_places))
        lows = lows_before.take(limits)
        limits = torch.where(takes_low, low_count + limits - lows, lows)
        ranks = torch.empty_like(ranks).scatter_(0, next_places, ranks)
    return levels
