"""Buffers that keep their digits in a model of half precision."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor


class Float64Buffers(torch.nn.Module):
    """A module whose own buffers follow it to other devices, but stay float64 under `half()`, `float()` or `to(dtype)`.

    These are called on whole models, whose losses may be among their modules. Control points of half precision would be
    those of another loss, and a sum of half precision stops growing after some hundred steps.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in before.items():
            after = self.get_buffer(name)
            if after.dtype != buffer.dtype:
                setattr(self, name, buffer.to(after.device))
        return self
