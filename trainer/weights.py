"""Reading weight files: state dicts only, never objects."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from paploss.trainer.errors import UserError, blame_machine


def load_backbone(detector: Any, file: Path) -> None:
    """Loads a classification network's state dict, e.g. an ImageNet ResNet, into `detector.backbone`.

    Raises:
        UserError: no such file, not a state dict, or it fits another backbone.
    """
    state = read_state_dict(file)
    backbone: nn.Module = detector.backbone
    expected = backbone.state_dict()
    own = {name.removeprefix("backbone."): value for name, value in state.items()}
    missing = [name for name in expected if name not in own and not name.endswith("num_batches_tracked")]
    if missing:
        raise UserError(f"weights: {file}: has no {missing[0]!r} and {len(missing) - 1} others of this backbone")
    wrong = [name for name in expected if name in own and own[name].shape != expected[name].shape]
    if wrong:
        shapes = list(expected[wrong[0]].shape), list(own[wrong[0]].shape)
        raise UserError(f"weights: {file}: {wrong[0]}: expected shape {shapes[0]}, got {shapes[1]}")
    backbone.load_state_dict({name: value for name, value in own.items() if name in expected}, strict=False)


def read_state_dict(file: Path) -> dict[str, torch.Tensor]:
    """The state dict in `file`, also when it lies under a key `state_dict` or `model`.

    Raises:
        UserError: no such file, or it holds anything but tensors and plain values.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        blame_machine(file, error)
        raise UserError(f"weights: {file}: cannot be read: {error.strerror}") from error
    except Exception as error:  # torch raises pickle and runtime errors of many kinds
        raise UserError(f"weights: {file}: not a plain state dict: {error}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    ):
        raise UserError(f"weights: {file}: expected a state dict of tensors")
    return content
