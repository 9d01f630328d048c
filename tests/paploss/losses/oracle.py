"""The generalised AP loss written straight from its formula: every pair, float64, gradients by autograd.

Nothing here is shared with the code under test. A function on [0, 1] is a callable of u, one of the score difference
a callable of d = s_j - s_i.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


def piecewise_linear(points: Tensor) -> Function:
    """The function through `[K+2, 2]` points; segments narrower than 1e-7 are jumps at their left end."""
    knots = [0.0 if x < 1e-7 else 1.0 if x > 1 - 1e-7 else x for x in points[:, 0].double().tolist()]
    heights = points[:, 1].double().tolist()

    def function(u: Tensor) -> Tensor:
        value = torch.zeros_like(u)
        for k in range(len(knots) - 1):
            (x0, x1), (y0, y1) = knots[k : k + 2], heights[k : k + 2]
            inside = (u > x0) & (u <= x1)
            if x1 - x0 < 1e-7:
                value = torch.where(u > x0, y1, value)
            else:
                line = y0 + (u - x0) * ((y1 - y0) / (x1 - x0))
                inside |= (u == 0) & (x0 == 0) & (k == 0)  # at 0 the derivative is the one from the right
                value = torch.where(inside, line, torch.where(u > x1, y1, value))
        # A jump at 1 is due at 1, where the slope is the one before the jump.
        return torch.where((u == 1) & (knots[-2] == 1), value + (1 - value).detach(), value)

    return function


def of_difference(function: Function) -> Function:
    """d -> function(clamp(d / 2 + 1/2, 0, 1)), flat up to d = -1 and beyond d = 1."""

    def of_d(d: Tensor) -> Tensor:
        value = function((d / 2 + 0.5).clamp(0, 1))
        return torch.where(d <= -1, 0.0, torch.where(d > 1, 1.0, value))

    return of_d


def half_sign(d: Tensor) -> Tensor:
    return d.sign() / 2 + 0.5


def pairwise_ap_loss(
    logits: Tensor, quality: Tensor, targets: Tensor, functions: list[Function], top_k: int | None = None
) -> Tensor:
    """The loss for functions H2, I2, I3, I1, H1 (H of d, I of u)."""
    h2, i2, i3, i1, h1 = functions
    s, is_positive, is_valid = logits.double(), targets == 1, targets >= 0
    if top_k is not None:
        order = s.detach().masked_fill(~is_valid, -torch.inf).argsort(descending=True)
        is_valid = is_valid & torch.zeros_like(is_valid).index_fill(0, order[:top_k], True)
    u = torch.where(is_positive, quality, torch.zeros_like(quality)).double()
    u_i, w_j = u[is_positive], 1 - i2(u[is_valid])
    d = s[is_valid][None, :] - s[is_positive][:, None]
    a = (h2(d) * w_j).sum(1)
    b = h1(d).sum(1).detach().clamp_min(1e-6)
    return (1 - i1(u_i) + i3(u_i) * a / b).sum() / (int(is_positive.sum()) + 1e-8)


def pairwise_parameterized_ap_loss(
    logits: Tensor, quality: Tensor, targets: Tensor, control_points: Tensor, top_k: int | None = None
) -> Tensor:
    """As `pairwise_ap_loss`, for `[4 or 5, K+2, 2]` control points."""
    rows = [piecewise_linear(points) for points in control_points]
    h1 = of_difference(rows[4]) if len(rows) == 5 else half_sign
    return pairwise_ap_loss(logits, quality, targets, [of_difference(rows[0]), *rows[1:4], h1], top_k)


def value_and_gradients(loss: Callable[..., Tensor], logits: Tensor, quality: Tensor, *rest: object) -> list[Tensor]:
    """The loss of leaves made from logits and quality, dL/dlogits and dL/dquality."""
    logits, quality = logits.detach().clone().requires_grad_(), quality.detach().clone().requires_grad_()
    value = loss(logits, quality, *rest)
    value.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert quality.grad is not None
    return [value.detach(), logits.grad, quality.grad]


def relative_errors(results: list[Tensor], expected: list[Tensor]) -> list[float]:
    """Maximum norm of each difference, relative to that of what was expected."""
    return [
        float((r.double() - e.double()).abs().max() / e.double().abs().max().clamp_min(1e-30))
        for r, e in zip(results, expected, strict=True)
    ]
