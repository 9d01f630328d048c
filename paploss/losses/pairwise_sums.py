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
from math import comb, sqrt
from typing import Self

import torch
from torch import Tensor

from paploss.losses.piecewise import TruncatedPowers

GRID_DENSITY = 5.0
"""Cells of the grid that finds bins, over sqrt(n E): filling a cell, and a search in it, then cost about as much."""
MOST_CELLS = 2**20
"""Bounds that grid; its 4 MB stay in the cache."""
LANES = 64
"""Copies of each bin on a GPU. Before a detector has learnt anything, all logits may lie in one bin, and threads that
add to one number wait for each other; those that add to 64 hardly do."""
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
    """Sum of w_j s_j^q over the scores above each of e, q = 0 to the degree of the functions, `[degree + 1, E]`."""


@dataclass(frozen=True)
class PairFunction:
    """A function f of s_j - s_i with its place among the sorted breakpoints."""

    coefficients: Tensor
    """Of f, `[M, degree + 1]`."""
    breakpoints: Tensor
    """b, `[P, M]`."""
    ranks: Tensor
    """Index of each breakpoint in e, `[P, M]` int64."""
    bin_count: int
    """E + 1."""

    def derivative(self) -> Self:
        """f', from the left at a kink; jumps contribute nothing."""
        powers = torch.arange(1, self.coefficients.shape[1], device=self.coefficients.device)
        return replace(self, coefficients=self.coefficients[:, 1:] * powers)

    def sums(self, placed: PlacedScores) -> Tensor:
        """sum_j w_j f(s_j - s_i), `[P]`."""
        total = torch.zeros_like(self.breakpoints)
        for q, moment in enumerate(placed.moments[: self.coefficients.shape[1]]):
            above = moment.take(self.ranks)
            for p in range(q, self.coefficients.shape[1]):
                total += self.coefficients[:, p] * comb(p, q) * (-self.breakpoints) ** (p - q) * above
        return total.sum(1)

    def transposed_sums(self, weights: Tensor, placed: PlacedScores) -> Tensor:
        """sum_i c_i f(s_j - s_i), `[n]`, given c `[P]`; w plays no part."""
        table = self._polynomials(weights)
        total = table[-1].index_select(0, placed.bins)
        for coefficients in reversed(table[:-1]):  # Horner's rule
            total.mul_(placed.scores).add_(coefficients.index_select(0, placed.bins))
        return total

    def _polynomials(self, weights: Tensor) -> Tensor:
        """The coefficient of s^q in sum_i c_i f(s - s_i), per bin, `[degree + 1, E + 1]`."""
        degree = self.coefficients.shape[1] - 1
        table = self.breakpoints.new_zeros(degree + 1, self.bin_count)
        for p, coefficient in enumerate(self.coefficients.unbind(1)):
            for q in range(p + 1):
                terms = weights[:, None] * coefficient * comb(p, q) * (-self.breakpoints) ** (p - q)
                table[q, 1:].index_add_(0, self.ranks.flatten(), terms.flatten())
        return table.cumsum(1)


class SortedBreakpoints:
    """The breakpoints of some functions of s_j - s_i, for P reference scores.

    Args:
        references: s_i, `[P]` floating, P >= 1, finite.
        functions: what will be summed; they share the table, and `functions` holds them in the same order.
    """

    functions: tuple[PairFunction, ...]

    def __init__(self, references: Tensor, functions: Sequence[TruncatedPowers]) -> None:
        offsets = torch.cat([f.offsets for f in functions])
        inclusive = torch.cat([f.inclusive for f in functions])
        # A large offset common to all scores would cost digits in the moments. From this origin all edges are >= 1.
        self._origin = references.min().double() + offsets.min() - 1
        breakpoints = (references.double() - self._origin)[:, None] + offsets
        # A score counts if it is above the edge; an edge just below its breakpoint lets equality count too.
        edges = torch.where(inclusive, breakpoints.nextafter(breakpoints.new_full((), -torch.inf)), breakpoints)
        self._edges, order = edges.flatten().sort()
        ranks = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))
        self._degree = max(f.degree for f in functions)
        knots = [len(f.offsets) for f in functions]
        self.functions = tuple(
            PairFunction(f.coefficients, b, r, bin_count=order.numel() + 1)
            for f, b, r in zip(
                functions, torch.split(breakpoints, knots, 1), torch.split(ranks.view_as(edges), knots, 1), strict=True
            )
        )

    def place(self, scores: Tensor, weights: Tensor | None = None) -> PlacedScores:
        """Place scores s_j, `[n]` floating, infinite ones included, with weights w_j, `[n]` float64 (1 if None)."""
        centred = scores.double() - self._origin
        # Beyond the last edge every f is at its end, and smaller numbers keep more digits.
        centred.clamp_(self._edges.new_zeros(()), self._edges[-1] + 1)
        bins = self._bins(centred)
        bin_count = self._edges.numel() + 1
        lanes = 1 if scores.device.type == "cpu" else max(1, min(LANES, MOST_LANE_CELLS // bin_count))
        sums = bin_sums(bins, _terms(centred, weights, self._degree), bin_count, lanes)
        return PlacedScores(centred, bins, moments=sums[:, 1:].flip(1).cumsum(1).flip(1))

    def _bins(self, scores: Tensor) -> Tensor:
        """`torch.bucketize(scores, edges)`, on the CPU some ten times faster for many scores.

        A grid of equal cells spans the edges. The map from score to cell never falls, so all scores of a cell that
        holds no edge lie in one bin, which is looked up; only scores in the other cells search among the edges.
        """
        cell_count = min(int(GRID_DENSITY * sqrt(scores.numel() * self._edges.numel())), MOST_CELLS)
        if scores.device.type != "cpu" or cell_count < self._edges.numel():
            return torch.bucketize(scores, self._edges, out_int32=True)
        cells_per_unit = cell_count / (self._edges[-1] + 1)

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
        numbers = torch.arange(bins.numel(), dtype=bins.dtype, device=bins.device)
        bins = numbers.remainder_(lanes).add_(bins, alpha=lanes)
    sums = [row.new_zeros(bin_count * lanes).index_add_(0, bins, row) for row in rows]
    return torch.stack(sums).view(len(sums), bin_count, lanes).sum(2)


def _terms(scores: Tensor, weights: Tensor | None, degree: int) -> Iterator[Tensor]:
    """w s^q for q = 0 to degree, `[n]` each; w is 1 if None."""
    terms = weights
    for q in range(degree + 1):
        if q > 0:
            terms = scores if terms is None else terms * scores
        yield scores.new_ones(()).expand_as(scores) if terms is None else terms
