"""Sums of a piecewise polynomial over all pairs of scores, without forming the pairs.

| symbol | meaning                                                          | shape         |
|--------|------------------------------------------------------------------|---------------|
| s_i    | reference scores (those of the positives)                        | `[P]`         |
| s_j    | scores that are compared with every s_i                          | `[n]`         |
| w_j    | weight of s_j                                                    | `[n]`         |
| c_i    | weight of s_i                                                    | `[P]`         |
| f      | a function of s_j - s_i: a sum of one-sided powers at M knots    |               |
| b_im   | breakpoint s_i + o_m, right of which term m of f counts          | `[P, M]`      |
| e      | the breakpoints of all functions, ascending                      | `[E]`         |
| bin_j  | how many of e lie below s_j                                      | `[n]`, 0 to E |

Once the bin of each score is known, sum_j w_j (s_j - b)^p over all s_j > b follows from sums of w s^q over bins, and
sum_i c_i f(s_j - s_i) is a polynomial in s_j that changes from bin to bin only. The n scores are never sorted:
O((n + E) log E) time and O(n + E) memory, exact up to rounding. All of it is float64.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import sqrt
from typing import Self

import torch
from torch import Tensor

from paploss.losses.piecewise import TruncatedPowers

GRID_DENSITY = 5.0
"""Cells of the grid that finds bins, over sqrt(n E): filling a cell, and a search in it, then cost about as much."""
MOST_CELLS = 2**20
"""Bounds that grid; its 4 MB stay in the cache."""
LANES = 256
"""Copies of each bin on a GPU. Before a detector has learnt anything, all logits may lie in one bin, and threads that
add to one number wait for each other: with 64 copies and 6.3e7 logits, two thirds of the loss's time on an H100."""
MOST_LANE_CELLS = 2**22
"""Bounds bins times lanes, 32 MB of float64; with so many bins there are fewer copies."""


@dataclass(frozen=True)
class PlacedScores:
    """Weighted scores s_j among the breakpoints; made by `SortedBreakpoints.place`."""

    scores: Tensor
    """s_j measured from `SortedBreakpoints`' origin, `[n]`."""
    bins: Tensor
    """`[n]` int32."""
    moments: Tensor
    """Sum of w_j s_j^q over the scores above each breakpoint, `[degree + 1, P, M of all functions]`."""


@dataclass(frozen=True)
class PlacedFunction:
    """A function f of s_j - s_i with its place among the sorted breakpoints."""

    polynomials: Tensor
    """Term m of f(s_j - s_i) where it counts, as a polynomial in s_j: coefficients of s_j^q, `[degree + 1, P, M]`."""
    ranks: Tensor
    """Index of each breakpoint in e, `[P M]` int64."""
    columns: slice
    """Of its M breakpoints among those of all functions."""
    bin_count: int
    """E + 1."""

    def derivative(self) -> Self:
        """f', from the left at a kink; jumps contribute nothing."""
        powers = torch.arange(1, len(self.polynomials), device=self.ranks.device)
        return replace(self, polynomials=self.polynomials[1:] * powers[:, None, None])

    def sums(self, placed: PlacedScores) -> Tensor:
        """sum_j w_j f(s_j - s_i), `[P]`."""
        return (self.polynomials * placed.moments[: len(self.polynomials), :, self.columns]).sum((0, 2))

    def transposed_sums(self, weights: Tensor, placed: PlacedScores) -> Tensor:
        """sum_i c_i f(s_j - s_i), `[n]`, given c `[P]`; w plays no part."""
        terms = (weights[:, None] * self.polynomials).flatten(1)
        table = terms.new_zeros(len(terms), self.bin_count)
        table[:, 1:].index_copy_(1, self.ranks, terms)  # no two breakpoints have one rank
        table = table.cumsum(1)
        total = table[-1].index_select(0, placed.bins)
        for coefficients in reversed(table[:-1]):  # Horner's rule
            total.mul_(placed.scores).add_(coefficients.index_select(0, placed.bins))
        return total


class SortedBreakpoints:
    """The breakpoints of some functions of s_j - s_i, for P reference scores.

    Args:
        references: s_i, `[P]` floating, P >= 1, finite.
        functions: what will be summed; they share the table, and `functions` holds them in the same order.
    """

    functions: tuple[PlacedFunction, ...]

    def __init__(self, references: Tensor, functions: Sequence[TruncatedPowers]) -> None:
        offsets = torch.cat([f.offsets for f in functions])
        inclusive = torch.cat([f.inclusive for f in functions])
        # A large offset common to all scores would cost digits in the moments. From this origin all edges are >= 1.
        self._origin = references.min().double() + offsets.min() - 1
        breakpoints = (references.double() - self._origin)[:, None] + offsets
        # A score counts if it is above the edge; an edge just below its breakpoint lets equality count too.
        edges = torch.where(inclusive, breakpoints.nextafter(breakpoints.new_full((), -torch.inf)), breakpoints)
        self._edges, order = edges.flatten().sort()
        self._lowest, self._highest = edges.new_zeros(()), self._edges[-1] + 1
        ranks = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
        self._ranks = ranks.view_as(edges)
        self._degree = max(f.degree for f in functions)
        coefficients = [torch.nn.functional.pad(f.coefficients, (0, self._degree - f.degree)) for f in functions]
        polynomials = _in_powers_of_score(torch.cat(coefficients), breakpoints)
        ends = list(accumulate((len(f.offsets) for f in functions), initial=0))
        self.functions = tuple(
            PlacedFunction(
                polynomials[: f.degree + 1, :, start:end],
                self._ranks[:, start:end].flatten(),
                slice(start, end),
                bin_count=order.numel() + 1,
            )
            for f, (start, end) in zip(functions, pairwise(ends), strict=True)
        )

    def place(self, scores: Tensor, weights: Tensor | None = None) -> PlacedScores:
        """Place scores s_j, `[n]` floating, infinite ones included, with weights w_j, `[n]` float64 (1 if None)."""
        centred = scores.double() - self._origin
        # Beyond the last edge every f is at its end, and smaller numbers keep more digits.
        centred.clamp_(self._lowest, self._highest)
        bins = self._bins(centred)
        bin_count = self._edges.numel() + 1
        lanes = 1 if scores.device.type == "cpu" else max(1, min(LANES, MOST_LANE_CELLS // bin_count))
        sums = bin_sums(bins, _terms(centred, weights, self._degree), bin_count, lanes)
        above = sums[:, 1:].flip(1).cumsum(1).flip(1)
        moments = above.index_select(1, self._ranks.flatten()).view(-1, *self._ranks.shape)
        return PlacedScores(centred, bins, moments)

    def _bins(self, scores: Tensor) -> Tensor:
        """`torch.bucketize(scores, edges)`, on the CPU some ten times faster for many scores.

        A grid of equal cells spans the edges. The map from score to cell never falls, so all scores of a cell that
        holds no edge lie in one bin, which is looked up; only scores in the other cells search among the edges.
        """
        cell_count = min(int(GRID_DENSITY * sqrt(scores.numel() * self._edges.numel())), MOST_CELLS)
        if scores.device.type != "cpu" or cell_count < self._edges.numel():
            return torch.bucketize(scores, self._edges, out_int32=True)
        cells_per_unit = cell_count / self._highest

        def cells(values: Tensor) -> Tensor:
            return (values * cells_per_unit).int().clamp_(0, cell_count - 1)

        edges_in_cell = torch.bincount(cells(self._edges), minlength=cell_count)
        bin_of_cell = edges_in_cell.cumsum(0, dtype=torch.int32).masked_fill_(edges_in_cell > 0, -1)
        bins = bin_of_cell.index_select(0, cells(scores))
        unsettled = (bins < 0).nonzero().squeeze(1)
        searched = torch.bucketize(scores.index_select(0, unsettled), self._edges, out_int32=True)
        return bins.scatter_(0, unsettled, searched)


def bin_sums(bins: Tensor, rows: Iterable[Tensor], bin_count: int, lanes: int) -> Tensor:
    """Sums of each row over the entries of each bin, `[rows, bin_count]`.

    Args:
        bins: `[n]` int32, from 0 to bin_count - 1.
        rows: values, `[n]` float64 each.
        bin_count: number of bins.
        lanes: how many partial sums each bin has, to which the entries are added in turn.
    """
    if lanes > 1:
        bins = bins * lanes
        in_turn = bins[: len(bins) // lanes * lanes].view(-1, lanes)  # the few others stay in the first lane
        in_turn.add_(torch.arange(lanes, dtype=bins.dtype, device=bins.device))
    sums = [row.new_zeros(bin_count * lanes).index_add_(0, bins, row) for row in rows]
    return torch.stack(sums).view(len(sums), bin_count, lanes).sum(2)


def _in_powers_of_score(coefficients: Tensor, breakpoints: Tensor) -> Tensor:
    """sum_p a_p (s - b)^p in powers of s, `[degree + 1, P, M]`, given a `[M, degree + 1]` and b `[P, M]`."""
    powers = [a.expand_as(breakpoints) for a in coefficients.unbind(1)]
    for lowest in range(len(powers) - 1):  # one division by s - b after the other, by Horner's rule
        for q in reversed(range(lowest, len(powers) - 1)):
            powers[q] = torch.addcmul(powers[q], powers[q + 1], breakpoints, value=-1)
    return torch.stack(powers)


def _terms(scores: Tensor, weights: Tensor | None, degree: int) -> Iterator[Tensor]:
    """w s^q for q = 0 to degree, `[n]` each; w is 1 if None."""
    terms = weights
    for q in range(degree + 1):
        if q > 0:
            terms = scores if terms is None else terms * scores
        yield scores.new_ones(()).expand_as(scores) if terms is None else terms
