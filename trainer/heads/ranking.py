"""From a head's configuration, plain numbers in an mmdet config, to a ranking loss."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from trainer.losses import handmade_ap_loss, parameterized_ap_loss


def ranking_loss(
    logits: Tensor,
    quality: Tensor,
    targets: Tensor,
    *,
    name: Literal["parameterized_ap", "handmade_ap"],
    control_points: Sequence[Sequence[Sequence[float]]] | None = None,
    form: Literal["sigmoid", "linear", "square"] | None = None,
    top_k: int | None = None,
) -> Tensor:
    """The loss `name` of N entries, as a scalar; NaN where an input is not finite, so that the trainer sees it.

    Args:
        logits: `[N]`.
        quality: `[N]` in [0, 1].
        targets: `[N]` in {1, 0, -1}.
        name: which loss.
        control_points: `[4 | 5, K+2, 2]`, for `parameterized_ap`.
        form: for `handmade_ap`.
        top_k: if given, only the k largest logits compete.

    Raises:
        ValueError: `name` is not known or its parameters are missing.
    """
    if not (torch.isfinite(logits).all() & torch.isfinite(quality).all()):
        return logits.sum() * torch.nan
    if name == "parameterized_ap" and control_points is not None:
        points = torch.tensor(control_points, dtype=torch.float64, device=logits.device)
        return parameterized_ap_loss(logits, quality, targets, points, top_k)
    if name == "handmade_ap" and form is not None:
        return handmade_ap_loss(logits, quality, targets, form, top_k)
    raise ValueError(f"ranking: expected parameterized_ap with control_points or handmade_ap with form, got {name!r}")
