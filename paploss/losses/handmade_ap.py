"""The hand-made forms of the generalised AP loss, which the searched functions are compared with.

| form    | H1, H2 of d = s_j - s_i           | I1, I2, I3      | evaluated            |
|---------|-----------------------------------|-----------------|----------------------|
| linear  | z = clamp(d / 2 + 1/2, 0, 1)      | u               | exactly, no pairs    |
| square  | z^2                               | u^2             | exactly, no pairs    |
| sigmoid | 1 / (1 + exp(-d))                 | sigmoid(2u - 1) | pair by pair         |

As with the searched functions, H1 is detached.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from paploss.losses.generalised_ap import APFunctions, generalised_ap_loss
from paploss.losses.pairwise_sums import SortedBreakpoints
from paploss.losses.piecewise import TruncatedPowers

PAIRS_AT_ONCE = 2**21
"""16 MB of float64 for each temporary; bounds the memory of the sigmoid form."""


def handmade_ap_loss(
    logits: Tensor,
    quality: Tensor,
    targets: Tensor,
    form: Literal["linear", "square", "sigmoid"],
    top_k: int | None = None,
) -> Tensor:
    """The generalised AP loss with hand-made functions.

    `linear` and `square` cost as much as `parameterized_ap_loss`; `sigmoid` has no exact table, so its time is
    O(N |P|), in memory that is bounded all the same. The background weight 1 - I2(0) is not 1 for `sigmoid`.

    Args:
        logits: `[N]` floating.
        quality: `[N]` floating, in [0, 1] at the positives; not read elsewhere. Or
            `[P]`, of the positives alone in the order of index, which saves the other entries' memory.
        targets: `[N]`, each 1, 0 or -1.
        form: which functions.
        top_k: if given, only the k largest valid logits compete.

    Returns:
        Scalar of the logits' dtype, at least float32.

    Raises:
        ValueError: an unknown form, or as `parameterized_ap_loss`.

    Source: Tao et al., NeurIPS 2021, whose released program offers these forms.
    """
    if form == "linear":
        ramp = TruncatedPowers.ramp(1.0, logits.device)
        table = partial(SortedBreakpoints, functions=(ramp, ramp))
        return generalised_ap_loss(logits, quality, targets, APFunctions(table, 1.0, _linear), top_k)
    if form == "square":
        ramp = TruncatedPowers.squared_ramp(logits.device)
        table = partial(SortedBreakpoints, functions=(ramp, ramp))
        return generalised_ap_loss(logits, quality, targets, APFunctions(table, 1.0, _square), top_k)
    if form == "sigmoid":
        functions = APFunctions(SigmoidPairs, torch.inf, _sigmoid)
        return generalised_ap_loss(logits, quality, targets, functions, top_k)
    raise ValueError(f"form: expected linear, square or sigmoid, received {form!r}")


def _linear(u: Tensor) -> tuple[Tensor, Tensor]:
    return u.expand(3, -1), torch.ones_like(u).expand(3, -1)


def _square(u: Tensor) -> tuple[Tensor, Tensor]:
    return u.square().expand(3, -1), (2 * u).expand(3, -1)


def _sigmoid(u: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.sigmoid(2 * u - 1).expand(3, -1)
    return value, 2 * value * (1 - value)


@dataclass(frozen=True)
class WeightedScores:
    """Scores s_j and weights w_j, `[n]` float64 each."""

    scores: Tensor
    weights: Tensor


@dataclass(frozen=True)
class ChunkedFunction:
    """A function of s_j - s_i that is summed pair by pair, in chunks of scores."""

    references: Tensor
    """s_i, `[P]` float64."""
    derivatives: tuple[Callable[[Tensor], Tensor], ...]
    """f, f', ... of differences, as far as they are needed."""

    def derivative(self) -> "ChunkedFunction":
        """f'."""
        return ChunkedFunction(self.references, self.derivatives[1:])

    def sums(self, placed: WeightedScores) -> Tensor:
        """sum_j w_j f(s_j - s_i), `[P]`."""
        total = torch.zeros_like(self.references)
        for scores, weights in zip(self._chunks(placed.scores), self._chunks(placed.weights), strict=True):
            total += self._over_pairs(scores) @ weights
        return total

    def transposed_sums(self, weights: Tensor, placed: WeightedScores) -> Tensor:
        """sum_i c_i f(s_j - s_i), `[n]`, given c `[P]`."""
        return torch.cat([weights @ self._over_pairs(scores) for scores in self._chunks(placed.scores)])

    def _over_pairs(self, scores: Tensor) -> Tensor:
        return self.derivatives[0](scores - self.references[:, None])

    def _chunks(self, scores: Tensor) -> tuple[Tensor, ...]:
        return torch.split(scores, max(1, PAIRS_AT_ONCE // self.references.numel()))


class SigmoidPairs:
    """Sums of sigmoid(s_j - s_i) for both H2 and H1."""

    def __init__(self, references: Tensor) -> None:
        sigmoid = ChunkedFunction(references.double(), (torch.sigmoid, _sigmoid_slope))
        self.functions = (sigmoid, sigmoid)

    def place(self, scores: Tensor, weights: Tensor | None = None) -> WeightedScores:
        """Scores `[n]` with weights `[n]` (1 if None)."""
        scores = scores.double()
        return WeightedScores(scores, torch.ones_like(scores) if weights is None else weights)


def _sigmoid_slope(difference: Tensor) -> Tensor:
    value = torch.sigmoid(difference)
    return value * (1 - value)
