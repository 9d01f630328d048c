"""Sums over pairs that compare two things at once: the score, by a function, and a height, by which is lower.

| symbol | meaning                                                              | shape    |
|--------|----------------------------------------------------------------------|----------|
| s      | scores                                                               | `[P]`    |
| y      | heights                                                              | `[P]`    |
| w      | weights, k sets                                                      | `[k, P]` |
| f      | continuous piecewise linear function of s_j - s_i, 0 far below 0     |          |
| b_im   | breakpoint s_i + o_m, right of which term m of f counts              | `[P, M]` |

sum over j of w_j f(s_j - s_i) [y_j < y_i] needs the sums of w_j and w_j s_j over the points with s_j > b_im and
y_j < y_i: dominance sums in two dimensions. With the points in descending order of score, the first condition is a
prefix, and the second is followed through the bits of the ranks of y, from the highest down: at each bit all points are
stably parted into those with a 0 and those with a 1 (a wavelet matrix), which keeps every prefix a range. This takes
O(P log P) time, O(P) memory and no loop but over the bits.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from trainer.losses.piecewise import TruncatedPowers


def sums_over_lower(f: TruncatedPowers, scores: Tensor, heights: Tensor, weights: Tensor) -> Tensor:
    """sum over j with y_j < y_i of w_j f(s_j - s_i), for every i.

    The transposed sums, over the higher i of w_i f(s_j - s_i) for every j, are those of -scores and -heights.

    Args:
        f: of degree 1 and without jumps.
        scores: s, `[P]` float64, P >= 1, finite.
        heights: y, `[P]` floating.
        weights: w, `[k, P]` float64.

    Returns:
        `[k, P]` float64.
    """
    slopes = f.coefficients[:, 1]
    # Measured from the lowest: a large offset common to all scores would cost digits.
    scores = scores - scores.min()
    descending, order = scores.sort(descending=True)
    ascending_heights, by_height = heights.sort()
    ranks = torch.empty_like(by_height).scatter_(0, by_height, torch.arange(len(by_height), device=scores.device))
    lower_count = torch.searchsorted(ascending_heights, heights)
    breakpoints = scores[:, None] + f.offsets
    above_count = torch.searchsorted(-descending, -breakpoints)

    in_order = weights.T[order]
    sums = dominance_sums(
        torch.cat((in_order, in_order * descending[:, None]), dim=1),
        ranks[order],
        prefixes=above_count.flatten(),
        bounds=lower_count[:, None].expand_as(above_count).flatten(),
    )
    counts, weighted_scores = sums.view(*breakpoints.shape, 2, -1).unbind(2)
    return torch.einsum("m,imk->ki", slopes, weighted_scores - breakpoints[..., None] * counts)


def dominance_sums(values: Tensor, ranks: Tensor, prefixes: Tensor, bounds: Tensor) -> Tensor:
    """Sums of values over those of the first so many points whose rank is below a bound.

    Args:
        values: `[n, k]` floating.
        ranks: `[n]` int64, a permutation of 0 to n - 1.
        prefixes: how many points are looked at, `[m]` int64, 0 to n.
        bounds: `[m]` int64, 0 to n.

    Returns:
        `[m, k]`.
    """
    places = torch.arange(len(ranks), device=ranks.device)
    total = values.new_zeros(len(prefixes), values.shape[1])
    ranges = torch.stack((torch.zeros_like(prefixes), prefixes))
    for bit in reversed(range(len(ranks).bit_length())):
        is_low = (ranks >> bit) & 1 == 0
        lows_before = pad(is_low.cumsum(0), (1, 0))
        low_count = lows_before[-1]
        low_sums = pad((values * is_low[:, None]).cumsum(0), (0, 0, 1, 0))
        # A bound with a 1 here: all points of its range with a 0 are below it, and the search goes on among the others.
        is_above = (bounds >> bit) & 1 == 1
        before_start, before_end = low_sums.index_select(0, ranges.flatten()).view(2, *total.shape)
        total += (before_end - before_start) * is_above[:, None]
        lows = lows_before.take(ranges)
        ranges = torch.where(is_above, low_count + ranges - lows, lows)
        parted = torch.where(is_low, lows_before[:-1], low_count + places - lows_before[:-1])
        ranks = torch.empty_like(ranks).index_copy_(0, parted, ranks)
        values = torch.empty_like(values).index_copy_(0, parted, values)
    return total
