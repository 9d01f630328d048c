"""Scaling of a gradient on its way back."""

from typing import Any, cast

import torch
from torch import Tensor


class _GradientScale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.scale, None


def scale_gradient(values: Tensor, scale: float) -> Tensor:
    """The same values, whose gradient is multiplied by `scale` on the way back.

    Args:
        values: any shape, floating.
        scale: the gradient scale lambda of a head, a factor above 0.

    Returns:
        `values`, unchanged, of the same shape.
    """
    return cast(Tensor, _GradientScale.apply(values, scale))  # type: ignore[no-untyped-call]
