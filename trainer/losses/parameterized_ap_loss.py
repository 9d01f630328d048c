"""Parameterized AP Loss (Tao et al., NeurIPS 2021), evaluated exactly without forming pairs.

| symbol    | meaning                                                               | shape |
|-----------|-----------------------------------------------------------------------|-------|
| s         | classification logits of all entries (anchor x class, all images)     | `[N]` |
| t         | targets: 1 positive, 0 negative, -1 ignored                           | `[N]` |
| u         | localisation quality in [0, 1]; 0 wherever t is not 1                 | `[N]` |
| P, V      | the positives (t = 1) and the valid entries (t >= 0)                  |       |
| z_ij      | clamp((s_j - s_i) / 2 + 1/2, 0, 1)                                    |       |
| w_j       | weight of entry j as a competitor, 1 - I2(u_j)                        | `[N]` |
| A_i, B_i  | sum over j in V of w_j H2(z_ij), and of H1(z_ij)                      | `[P]` |
| c_i       | I3(u_i) / ((|P| + 1e-8) B_i)                                          | `[P]` |

    L = 1 / (|P| + 1e-8) * sum over i in P of (1 - I1(u_i) + I3(u_i) A_i / stop_gradient(B_i))
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from trainer.losses.pairwise_sums import SortedBreakpoints
from trainer.losses.piecewise import PiecewiseLinear, TruncatedPowers, check_control_points

SMALLEST_DENOMINATOR = 1e-6
"""Floor of B_i, which vanishes where H1(1/2) = 0 and no other entry comes near."""

QUALITY_SLACK = 1e-6
"""How far rounding may take a quality out of [0, 1]."""


@dataclass(frozen=True)
class APFunctions:
    """The five functions of the loss: two of a score difference, three of a quality."""

    h2: TruncatedPowers
    i2: Callable[[Tensor], tuple[Tensor, Tensor]]
    """Value and derivative at a quality, as with i3 and i1."""
    i3: Callable[[Tensor], tuple[Tensor, Tensor]]
    i1: Callable[[Tensor], tuple[Tensor, Tensor]]
    h1: TruncatedPowers


def parameterized_ap_loss(
    logits: Tensor, quality: Tensor, targets: Tensor, control_points: Tensor, top_k: int | None = None
) -> Tensor:
    """Parameterized AP Loss of one batch: its exact value and gradients in O(N log(|P| K)) time, O(N + |P| K) memory.

    Gradients reach the logits through H2 and the quality of the positives through I1, I2 and I3; H1 is detached, and
    the term j = i is part of both sums. Ignored entries take no part. Without a positive the loss is 0 and every
    gradient is 0. The result is finite for all control points: B_i is floored at 1e-6, and segments narrower than
    1e-7 (after coordinates within 1e-7 of 0 or 1 became 0 or 1) are jumps at their left end, without a slope.
    Functions are left-continuous, with f(0) = 0 and f(1) = 1; at a kink the derivative is the one from the left.

    Sums are accumulated in float64 for every input dtype. On a GPU one wait for the device remains (the number of
    positives decides the shapes); values are checked on the CPU only, and on a GPU NaN input gives a NaN loss.

    Args:
        logits: s, `[N]` floating. Half precision is taken to float32 first.
        quality: u, `[N]` floating, in [0, 1] at the positives (1e-6 beyond is clamped); not read elsewhere.
        targets: t, `[N]`, each 1, 0 or -1.
        control_points: `[4 or 5, K+2, 2]`, rows H2, I2, I3, I1, H1 of points (x, y) from (0, 0) to (1, 1), never
            falling. With four rows H1(s_j - s_i) = sign(s_j - s_i) / 2 + 1/2.
        top_k: if given, only the k largest logits of V compete (as j), an approximation that others make for memory.

    Returns:
        Scalar of the logits' dtype, at least float32.

    Raises:
        ValueError: shapes that do not match; on the CPU also targets other than 1, 0, -1, NaN logits of valid
            entries, quality of a positive outside [0, 1], control points that are not as above.

    Source: Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021, the loss of section 3.
    """
    check_control_points(control_points)
    rows = [PiecewiseLinear.through(points) for points in control_points.to(logits.device, torch.float64)]
    h1 = rows[4].of_difference() if len(rows) == 5 else TruncatedPowers.half_sign(logits.device)
    functions = APFunctions(h2=rows[0].of_difference(), i2=rows[1], i3=rows[2], i1=rows[3], h1=h1)
    return _ap_loss(logits, quality, targets, functions, top_k)


def _ap_loss(logits: Tensor, quality: Tensor, targets: Tensor, functions: APFunctions, top_k: int | None) -> Tensor:
    _check_entries(logits, quality, targets, top_k)
    scores = logits if logits.dtype == torch.float64 else logits.float()
    loss: Tensor = _APLoss.apply(scores, quality, targets, functions, top_k)  # type: ignore[no-untyped-call]
    return loss


def _check_entries(logits: Tensor, quality: Tensor, targets: Tensor, top_k: int | None) -> None:
    if logits.ndim != 1 or quality.shape != logits.shape or targets.shape != logits.shape:
        raise ValueError(
            "logits, quality, targets: expected one shape [N], received "
            f"{list(logits.shape)}, {list(quality.shape)}, {list(targets.shape)}"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k: expected at least 1, received {top_k}")
    if logits.device.type != "cpu" or logits.numel() == 0:
        return  # reading values back would stop the device
    lowest, highest = targets.aminmax()
    if lowest < -1 or highest > 1 or (targets.is_floating_point() and bool((targets != targets.round()).any())):
        wrong = targets[(targets != 1) & (targets != 0) & (targets != -1)][0].item()
        raise ValueError(f"targets: expected 1, 0 or -1, received {wrong}")
    # The sum is the cheapest sign of a NaN; infinities of both signs give one too, hence the second look.
    if logits.detach().sum().isnan() and bool((logits.isnan() & (targets >= 0)).any()):
        raise ValueError("logits: expected numbers, received NaN")
    of_positives = quality.detach()[targets == 1]
    # Negated, so that NaN fails as well.
    if not bool(((of_positives >= -QUALITY_SLACK) & (of_positives <= 1 + QUALITY_SLACK)).all()):
        low, high = of_positives.aminmax()
        raise ValueError(f"quality: expected [0, 1] at positives, received {low.item()} to {high.item()}")


class _APLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, logits: Tensor, quality: Tensor, targets: Tensor, functions: APFunctions, top_k: int | None
    ) -> Tensor:
        loss, *gradients = _value_and_gradients(logits, quality, targets, functions, top_k)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: FunctionCtx, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        grad_logits, grad_quality = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad_loss * grad_logits, grad_loss * grad_quality, None, None, None


def _value_and_gradients(
    logits: Tensor, quality: Tensor, targets: Tensor, functions: APFunctions, top_k: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """L, dL/ds and dL/du."""
    grad_logits, grad_quality = torch.zeros_like(logits), torch.zeros_like(quality)
    if logits.numel() == 0:
        return logits.new_zeros(()), grad_logits, grad_quality
    is_positive = targets == 1
    is_competitor = targets >= 0
    if top_k is not None and top_k < logits.numel():
        ranked = logits.masked_fill(~is_competitor, -torch.inf).topk(top_k, sorted=False).indices
        is_competitor &= torch.zeros_like(is_competitor).index_fill_(0, ranked, True)
    # Below every breakpoint an entry is no competitor. Rounded down to the logits' dtype; NaN stays in, to show up.
    lowest = logits.where(is_positive, torch.inf).amin() + functions.h2.offsets.amin().to(logits.dtype)
    is_competitor &= ~(logits <= lowest.nextafter(lowest.new_tensor(-torch.inf)))

    # The only wait for the device: all shapes below follow from these two numbers.
    positive_count, competitor_count = torch.stack((is_positive.sum(), is_competitor.sum())).tolist()
    if positive_count == 0:
        return logits.new_zeros(()), grad_logits, grad_quality
    positives = _indices(is_positive, positive_count)
    competitors = _indices(is_competitor, competitor_count)

    u = quality[positives].double()
    (i2, i2_slope), (i3, i3_slope), (i1, i1_slope) = functions.i2(u), functions.i3(u), functions.i1(u)
    competes = is_competitor[positives]  # with top_k, not every positive does

    breakpoints = SortedBreakpoints(logits[positives], (functions.h2, functions.h1))
    h2, h1 = breakpoints.functions
    binned = breakpoints.locate(logits.index_select(0, competitors))
    binned_positives = breakpoints.locate(logits[positives])
    moments = breakpoints.moments(binned, degree=1)
    weighted = moments - breakpoints.moments(binned_positives, degree=1, weights=i2 * competes)

    normaliser = positive_count + 1e-8
    a, b = h2.sums(weighted), h1.sums(moments).clamp_min(SMALLEST_DENOMINATOR)
    c = i3 / (normaliser * b)
    loss = (1 - i1).sum() / normaliser + (c * a).sum()

    pull = h2.derivative().transposed_sums(c, binned)
    grad_logits.scatter_(0, competitors, pull.to(logits.dtype))
    pull_of_positives = h2.derivative().transposed_sums(c, binned_positives) * (1 - i2) * competes
    grad_logits[positives] = (pull_of_positives - c * h2.derivative().sums(weighted)).to(logits.dtype)
    as_competitor = i2_slope * competes * h2.transposed_sums(c, binned_positives)
    grad_quality[positives] = ((i3_slope * a / b - i1_slope) / normaliser - as_competitor).to(quality.dtype)
    return loss.to(logits.dtype), grad_logits, grad_quality


def _indices(mask: Tensor, count: int) -> Tensor:
    """Where a mask is True, `[count]`; knowing the count, a GPU need not be waited for."""
    indices = torch.nonzero_static(mask, size=count) if mask.is_cuda else mask.nonzero()
    return indices.squeeze(1)
