"""Classification losses of DETRs whose target at a matched query is how well its box fits, as an mmdet loss module.

| symbol | meaning                                                           | shape    |
|--------|-------------------------------------------------------------------|----------|
| x, p   | logits of the entries (query, class), and sigmoid(x)              | `[M, C]` |
| y      | 1 at the class of a matched query, else 0                         | `[M, C]` |
| u      | IoU of a matched query's box with its object, 0 elsewhere         | `[M, C]` |
| BCE(t) | -t log p - (1 - t) log(1 - p)                                     | `[M, C]` |

    varifocal            y u BCE(u) + (1 - y) 0.75 p^2 BCE(0)                          Zhang et al., CVPR 2021
    mal                  y BCE(u^1.5) + (1 - y) p^1.5 BCE(0)                           Huang et al. (DEIM), CVPR 2025
    iou_bce              y BCE(p^0.25 u^0.75) + (1 - y) p^2 BCE(0)                     Cai et al. (Align-DETR), 2023
    position_supervised  y |t - p|^2 BCE(t) + (1 - y) p^2 BCE(0), t = u^2 / max of u   Liu et al. (Stable-DINO), 2023

Targets, and the weights that depend on p in the last three, take no gradient. mmdet has the fifth of the kind, the
Quality Focal Loss, whose place in its DETR head these take.
"""

from collections.abc import Callable
from typing import Final

import torch
from mmdet.models.losses import QualityFocalLoss
from mmdet.models.losses.varifocal_loss import varifocal_loss
from mmdet.registry import MODELS
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from paploss.trainer.heads.autocast import without_autocast

MAL_GAMMA = 1.5
IOU_BCE_ALPHA = 0.25
FOCUS = 2.0
"""Exponent of the weights of the others."""
SMALLEST_IOU = 1e-6


def _varifocal(logits: Tensor, _: Tensor, u: Tensor) -> Tensor:
    values: Tensor = varifocal_loss(logits, u, alpha=0.75, gamma=FOCUS, iou_weighted=True, reduction="none")
    return values


def _mal(logits: Tensor, y: Tensor, u: Tensor) -> Tensor:
    weights = torch.where(y > 0, 1.0, logits.detach().sigmoid().pow(MAL_GAMMA))
    return weights * binary_cross_entropy_with_logits(logits, u.pow(MAL_GAMMA), reduction="none")


def _iou_bce(logits: Tensor, y: Tensor, u: Tensor) -> Tensor:
    p = logits.detach().sigmoid()
    target = y * p.pow(IOU_BCE_ALPHA) * u.pow(1 - IOU_BCE_ALPHA)
    weights = torch.where(y > 0, 1.0, p.pow(FOCUS))
    return weights * binary_cross_entropy_with_logits(logits, target, reduction="none")


def _position_supervised(logits: Tensor, _: Tensor, u: Tensor) -> Tensor:
    p, target = logits.detach().sigmoid(), u.square() / u.max().clamp_min(SMALLEST_IOU)
    return (target - p).abs().pow(FOCUS) * binary_cross_entropy_with_logits(logits, target, reduction="none")


FORMULAS: Final[dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "varifocal": _varifocal,
    "mal": _mal,
    "iou_bce": _iou_bce,
    "position_supervised": _position_supervised,
}
"""By the name of the loss: from x, y and u to the loss of each entry, `[M, C]`."""


@MODELS.register_module()
class IoUTargetLoss(QualityFocalLoss):  # type: ignore[misc]
    """One of FORMULAS, called as mmdet's DETR head calls a QualityFocalLoss.

    Args:
        formula: a name in FORMULAS.
        loss_weight: factor on the loss.

    Raises:
        ValueError: the name is not known.
    """

    def __init__(self, formula: str, loss_weight: float = 1.0) -> None:
        super().__init__(use_sigmoid=True, loss_weight=loss_weight)
        if formula not in FORMULAS:
            raise ValueError(f"formula: expected one of {', '.join(FORMULAS)}, got {formula!r}")
        self.formula = formula

    @without_autocast
    def forward(
        self, logits: Tensor, target: tuple[Tensor, Tensor], weight: Tensor, avg_factor: float | Tensor
    ) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            logits: `[M, C]`.
            target: labels `[M]` int64, C where a query has no object; and the IoU of its box with its object `[M]`.
            weight: `[M]`, factors on the queries.
            avg_factor: the sum over all entries is divided by it.
        """
        labels, iou = target
        y = one_hot(labels, logits.shape[1] + 1)[:, :-1].to(logits.dtype)
        values = FORMULAS[self.formula](logits, y, y * iou[:, None].to(logits.dtype))
        loss: Tensor = self.loss_weight * (values * weight[:, None]).sum() / avg_factor
        return loss
