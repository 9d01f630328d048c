"""The generalised AP loss, for any functions of score differences and of qualities.

| symbol   | meaning                                                                | shape |
|----------|------------------------------------------------------------------------|-------|
| s        | classification logits of all entries (anchor x class, all images)      | `[N]` |
| t        | targets: 1 positive, 0 negative, -1 ignored                            | `[N]` |
| u        | localisation quality in [0, 1]; 0 wherever t is not 1                  | `[N]` |
| P, V     | the positives (t = 1) and the valid entries (t >= 0)                   |       |
| H1, H2   | functions of the score difference s_j - s_i                            |       |
| I1 to I3 | functions of the quality                                               |       |
| w_j      | weight of entry j as a competitor, 1 - I2(u_j)                         | `[N]` |
| A_i, B_i | sum over j in V of w_j H2(s_j - s_i), and of H1(s_j - s_i)             | `[P]` |
| c_i      | I3(u_i) / ((|P| + 1e-8) B_i)                                           | `[P]` |

    L = 1 / (|P| + 1e-8) * sum over i in P of (1 - I1(u_i) + I3(u_i) A_i / stop_gradient(B_i))

    dL/ds_j = w_j sum_i c_i H2'(s_j - s_i), less c_j sum_k w_k H2'(s_k - s_j) where j is positive
    dL/du_j = (I3'(u_j) A_j / B_j - I1'(u_j)) / (|P| + 1e-8) - I2'(u_j) sum_i c_i H2(s_j - s_i)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from paploss.losses.entries import QUALITY_SLACK, check_logits, select_entries

SMALLEST_DENOMINATOR = 1e-6
"""Floor of B_i, which vanishes where H1 is 0 at the term j = i and no other entry comes near."""

QualityFunctions = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From qualities, `[n]` float64, to the values of I2, I3 and I1 there and their derivatives, `[3, n]` float64 each."""

S = TypeVar("S")
"""Weighted scores, in the form that a way of summing over pairs needs them."""


class PairFunction(Protocol[S]):
    """A function f of s_j - s_i that can be summed over pairs."""

    def derivative(self) -> "PairFunction[S]":
        """f'."""
        ...

    def sums(self, placed: S, /) -> Tensor:
        """sum_j w_j f(s_j - s_i), `[P]` float64."""
        ...

    def transposed_sums(self, weights: Tensor, placed: S, /) -> Tensor:
        """sum_i c_i f(s_j - s_i), `[n]` float64, given c `[P]`."""
        ...


class PairSums(Protocol[S]):
    """A way of summing over all pairs of P reference scores and others; see `pairwise_sums` for the fast one."""

    @property
    def functions(self) -> "tuple[PairFunction[S], ...]":
        """H2 and H1."""
        ...

    def place(self, scores: Tensor, weights: Tensor | None = None, /) -> S:
        """Prepare scores s_j, `[n]`, with weights w_j, `[n]` float64 (1 if None)."""
        ...


@dataclass(frozen=True)
class APFunctions(Generic[S]):
    """The five functions of the loss."""

    pairs: Callable[[Tensor], PairSums[S]]
    """From the scores of the positives, `[P]`, to sums of H2 and H1 over pairs with them."""
    reach: float
    """H1 and H2 are 0 at differences up to -reach."""
    quality: QualityFunctions
    """I2, I3 and I1."""


def generalised_ap_loss(
    logits: Tensor, quality: Tensor, targets: Tensor, functions: APFunctions[S], top_k: int | None = None
) -> Tensor:
    """The loss with given functions; arguments, dtypes and errors as in `parameterized_ap_loss`."""
    _check_entries(logits, quality, targets, top_k)
    scores = logits if logits.dtype == torch.float64 else logits.float()
    entries = _select(scores.detach(), targets, functions.reach, top_k)
    if quality.shape != entries.positives.shape:
        if quality.shape != logits.shape:
            raise ValueError(
                _shapes(logits, quality, targets) + f"; quality may be {list(entries.positives.shape)} too"
            )
        quality = quality.index_select(0, entries.positives)
    _check_quality(quality.detach())
    loss: Tensor = _GeneralisedAPLoss.apply(scores, quality, entries, functions)  # type: ignore[no-untyped-call]
    return loss


@dataclass(frozen=True)
class _Entries:
    """The entries that take part."""

    positives: Tensor
    """Indices, ascending, `[P]` int64."""
    competitors: Tensor
    """Indices of those that H1 or H2 is not 0 for, ascending, int64."""
    competes: Tensor
    """Whether each positive competes, `[P]` bool: with top_k, not every one does."""


def _select(logits: Tensor, targets: Tensor, reach: float, top_k: int | None) -> _Entries:
    is_positive, is_competitor = targets == 1, targets >= 0
    if top_k is not None and top_k < logits.numel():
        ranked = logits.masked_fill(~is_competitor, -torch.inf).topk(top_k, sorted=False).indices
        is_competitor &= torch.zeros_like(is_competitor).index_fill_(0, ranked, True)
    positives, competitors = select_entries(logits, is_positive, is_competitor, reach)
    return _Entries(positives, competitors, is_competitor.index_select(0, positives))


def _check_entries(logits: Tensor, quality: Tensor, targets: Tensor, top_k: int | None) -> None:
    if logits.ndim != 1 or targets.shape != logits.shape:
        raise ValueError(_shapes(logits, quality, targets))
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: expected at least 1, received {top_k}")
    if logits.device.type != "cpu" or logits.numel() == 0:
        return  # reading values back would stop the device
    lowest, highest = (bound.item() for bound in targets.aminmax())
    if lowest < -1 or highest > 1 or (targets.is_floating_point() and bool((targets != targets.round()).any())):
        wrong = targets[(targets != 1) & (targets != 0) & (targets != -1)][0].item()
        raise ValueError(f"targets: expected 1, 0 or -1, received {wrong}")
    check_logits(logits, targets == 1, targets >= 0)


def _shapes(*tensors: Tensor) -> str:
    received = ", ".join(str(list(tensor.shape)) for tensor in tensors)
    return f"logits, quality, targets: expected one shape [N], received {received}"


def _check_quality(quality: Tensor) -> None:
    """Check that of the positives, `[P]`, on the CPU."""
    if quality.device.type != "cpu" or quality.numel() == 0:
        return
    low, high = quality.aminmax()
    if not (low >= -QUALITY_SLACK and high <= 1 + QUALITY_SLACK):  # negated, so that NaN fails as well
        raise ValueError(f"quality: expected [0, 1] at positives, received {low.item()} to {high.item()}")


class _GeneralisedAPLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, logits: Tensor, quality: Tensor, entries: _Entries, functions: APFunctions[S]
    ) -> Tensor:
        loss, *gradients = _value_and_gradients(logits, quality, entries, functions)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        grad_logits, grad_quality = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad_loss * grad_logits, grad_loss * grad_quality, None, None


def _value_and_gradients(
    logits: Tensor, quality: Tensor, entries: _Entries, functions: APFunctions[S]
) -> tuple[Tensor, Tensor, Tensor]:
    """L, dL/ds `[N]` and dL/du `[P]`."""
    grad_logits = torch.zeros_like(logits)
    positives, competitors, competes = entries.positives, entries.competitors, entries.competes
    if positives.numel() == 0:
        return logits.new_zeros(()), grad_logits, torch.zeros_like(quality)

    values, slopes = functions.quality(torch.nn.functional.pad(quality.double(), (0, 1)))
    i2_elsewhere = values[0, -1:]  # where t = 0, u is 0
    (i2, i3, i1), (i2_slope, i3_slope, i1_slope) = values[:, :-1], slopes[:, :-1]
    in_background = 1 - i2_elsewhere

    pairs = functions.pairs(logits.index_select(0, positives))
    h2, h1 = pairs.functions
    everyone = pairs.place(logits.index_select(0, competitors))
    # Few entries are positive: w is one number for all, with a correction at the positives.
    corrected = pairs.place(logits.index_select(0, positives), (i2 - i2_elsewhere) * competes)

    def weighted_sums(f: PairFunction[S]) -> Tensor:
        return in_background * f.sums(everyone) - f.sums(corrected)

    normaliser = positives.numel() + 1e-8
    a, b = weighted_sums(h2), h1.sums(everyone).clamp_min(SMALLEST_DENOMINATOR)
    c = i3 / (normaliser * b)
    loss = (1 - i1).sum() / normaliser + (c * a).sum()

    slope = h2.derivative()
    as_competitor = slope.transposed_sums(in_background * c, everyone)
    grad_logits.scatter_(0, competitors, as_competitor.to(logits.dtype))
    as_competitor = (1 - i2) * competes * slope.transposed_sums(c, corrected)
    grad_logits.scatter_(0, positives, (as_competitor - c * weighted_sums(slope)).to(logits.dtype))
    as_competitor = i2_slope * competes * h2.transposed_sums(c, corrected)
    grad_quality = (i3_slope * a / b - i1_slope) / normaliser - as_competitor
    return loss.to(logits.dtype), grad_logits, grad_quality.to(quality.dtype)
