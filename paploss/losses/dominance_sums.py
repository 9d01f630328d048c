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

from paploss.losses.piecewise import TruncatedPowers


@dataclass(frozen=True)
class _Level:
    """One bit. It parts the points into low ones, whose rank has a 0, and the others, which follow; both keep order."""

    places: Tensor
    """Where each point of the order before goes, `[P]` int64."""
    low_count: int
    """Number of low points."""
    limits: Tensor
    """Which low points each i takes, among the parted ones: where they end, common to its M ranges, and where those of
    each range begin, `[M + 1, P]` int64. It takes them if its bound has a 1 here; else both are P."""


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
        # Of equal heights none is below another: the bound of each is the rank of the first.
        is_first = torch.cat((ascending.new_ones(1, dtype=torch.bool), ascending.diff() > 0))
        first_ranks = torch.where(is_first, torch.arange(len(order), device=order.device), 0).cummax(0).values
        bounds = torch.empty_like(order).scatter_(0, order, first_ranks)
        self._levels = _levels(ranks, first, bounds)

    def sums(self, weights: Tensor) -> Tensor:
        """sum over j with y_j < y_i of w_j f(s_j - s_i) for every i, `[P, k]`, given w `[P, k]` float64."""
        values = torch.cat((weights, weights * self._scores[:, None]), dim=1)
        totals = values.new_zeros(*self._breakpoints.shape, values.shape[1])
        for level in self._levels:
            values = torch.empty_like(values).index_copy_(0, level.places, values)
            before = pad(values.cumsum(0), (0, 0, 1, 0))
            at_limits = before.index_select(0, level.limits.flatten()).view(-1, *totals.shape[1:])
            totals += at_limits[0] - at_limits[1:]
        counts, moments = totals.chunk(2, dim=2)
        return torch.einsum("m,mik->ik", self._slopes, moments - self._breakpoints[..., None] * counts)

    def transposed_sums(self, weights: Tensor) -> Tensor:
        """sum over i with y_j < y_i of c_i f(s_j - s_i) for every j, `[P]`, given c `[P]` float64."""
        slopes = weights * self._slopes[:, None]
        terms = torch.stack((slopes, slopes * self._breakpoints), dim=2)
        changes = torch.cat((-terms.sum(0, keepdim=True), terms)).flatten(0, 1)
        totals = weights.new_zeros(len(weights), 2)
        for level in reversed(self._levels):
            # Running sums of what starts and ends at a point are sums over the ranges that hold it.
            running = totals.new_zeros(len(weights) + 1, 2).index_add_(0, level.limits.flatten(), changes).cumsum(0)
            totals[: level.low_count] += running[: level.low_count]
            totals = totals.index_select(0, level.places)
        return totals[:, 0] * self._scores - totals[:, 1]


def _levels(ranks: Tensor, first: Tensor, bounds: Tensor) -> list[_Level]:
    """The levels, highest bit first.

    Args:
        ranks: of the points, `[P]` int64, a permutation of 0 to P - 1.
        first: the first point of each range, `[M, P]` int64, 0 to P.
        bounds: the rank that points must be below, for each i, `[P]` int64, 0 to P.
    """
    levels = []
    count = len(ranks)
    numbers = torch.arange(count, device=ranks.device)
    limits = torch.cat((torch.full_like(first[:1], count), first))
    for bit in reversed(range(count.bit_length())):
        is_low = (ranks >> bit) & 1 == 0
        low_count = count // (2 << bit) * (1 << bit) + min(count % (2 << bit), 1 << bit)
        lows_before = pad(is_low.cumsum(0), (1, 0))
        places = torch.where(is_low, lows_before[:-1], low_count + numbers - lows_before[:-1])
        takes_low = (bounds >> bit) & 1 == 1
        lows = lows_before.take(limits)
        levels.append(_Level(places, low_count, torch.where(takes_low, lows, count)))
        limits = torch.where(takes_low, low_count + limits - lows, lows)
        ranks = torch.empty_like(ranks).scatter_(0, places, ranks)
    return levels
