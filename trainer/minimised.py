"""The number that training minimises: the sum of those outputs of a detector that the heads of its recipe declare."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from paploss.trainer.profiles.recipe import Head


def minimised_loss(outputs: Mapping[str, Any], heads: Iterable[Head]) -> Tensor:
    """The sum over all heads, a scalar.

    Args:
        outputs: what the detector returns in training: tensors, or lists of them (one per level), by name.
        heads: the recipe's; beside their losses, outputs may be there that only inform, such as an accuracy.

    Raises:
        KeyError: a head's loss is not there.
        ValueError: an output has a gradient, but is no head's loss.
    """
    declared = {name for head in heads for name in head.losses}
    if missing := declared - set(outputs):
        raise KeyError(f"expected the outputs {', '.join(sorted(missing))}, got {', '.join(outputs)}")
    for name, value in outputs.items():
        if name not in declared and _sum(value).requires_grad:
            raise ValueError(f"{name}: an output with a gradient, expected it among the losses of a head")
    return _sum([value for name, value in outputs.items() if name in declared])


def head_loss(outputs: Mapping[str, Any], head: Head) -> Tensor:
    """The sum over one head, a scalar; `outputs` as of `minimised_loss`."""
    return _sum([value for name, value in outputs.items() if name in head.losses])


def _sum(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.mean()
    return torch.stack([_sum(value) for value in values]).sum()
