"""Losses in single precision, whatever autocast makes of the layers before them."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Computes `function` without autocast, its tensors of half precision taken to float32.

    Ranks of many entries and areas in px^2 need more digits, and a wider range, than half precision has.
    """

    @wraps(function)
    def computed(*arguments: P.args, **options: P.kwargs) -> R:
        tensor = next(one for one in (*arguments, *options.values()) if isinstance(one, Tensor))
        with torch.autocast(tensor.device.type, enabled=False):
            return function(*map(_widened, arguments), **{name: _widened(one) for name, one in options.items()})

    return computed


def _widened(argument: Any) -> Any:
    is_half = isinstance(argument, Tensor) and argument.dtype in (torch.float16, torch.bfloat16)
    return argument.float() if is_half else argument
