"""A detector whose layers compute in another precision than the losses."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from paploss.trainer.errors import UserError
from paploss.trainer.profiles.recipe import Recipe


def compute_in(detector: Any, recipe: Recipe) -> None:
    """Have an mmdet detector compute in the recipe's precision; to be called on its device.

    With `bf16` the layers of backbone, neck and heads run under autocast, on images and weights whose channels lie
    together, as tensor cores want them. What features and heads give, and the losses, proposals and detections that
    follow, is float32; so are weights, gradients and the optimiser's state. Losses are not scaled: bfloat16 has the
    range of float32.

    Raises:
        UserError: this GPU has no bfloat16.
    """
    if recipe.precision == "float32":
        return
    device = next(detector.parameters()).device
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"overrides.precision: expected float32, {torch.cuda.get_device_name(device)} has no bf16")
    detector.to(memory_format=torch.channels_last)
    detector.extract_feat = _in_bf16(detector.extract_feat, device)
    for head in recipe.heads:
        module: nn.Module = detector.get_submodule(head.module)
        module.forward = _in_bf16(module.forward, device)


def _in_bf16(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    @wraps(function)
    def computed(*arguments: Any, **options: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16):
            outputs = function(*arguments, **options)
        return _in_float32(outputs)

    return computed


def _in_float32(outputs: Any) -> Any:
    """A tensor, or tuples and lists of them."""
    if isinstance(outputs, Tensor):
        return outputs.float()
    return type(outputs)(map(_in_float32, outputs))
