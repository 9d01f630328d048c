"""Classification losses whose target at a positive is how well its box fits, as an mmdet loss module.

| symbol | meaning                                                           | shape    |
|--------|-------------------------------------------------------------------|----------|
| x, p   | logits of the entries (candidate, class), and sigmoid(x)          | `[M, C]` |
| y      | 1 at the class of a positive, else 0                              | `[M, C]` |
| u      | IoU of a positive's box with its object, 0 elsewhere              | `[M, C]` |
| BCE(t) | -t log p - (1 - t) log(1 - p)                                     | `[M, C]` |
| [v]    | v without its gradient; targets never have one                    |          |

    varifocal            u BCE(u) where u > 0, 0.75 p^2 BCE(0) elsewhere
    mal                  y BCE(u^1.5) + (1 - y) [p]^1.5 BCE(0)
    iou_bce              y BCE(t) + (1 - y) p^2 BCE(0), t = max(p^0.25 u^0.75, 0.01)
    position_supervised  y 0.25 (t - p)^2 BCE(t) + (1 - y) 0.75 p^2 BCE(0), t = u^2 / (max of u^2 in the image + 1e-8)

mmdet has the fifth of the kind, the Quality Focal Loss |t - p|^2 BCE(t), t = u (Li et al., NeurIPS 2020), whose place
in its DETR head these take; it and Varifocal are mmdet's functions, the latter by its
author (mmdetection pull request 3666).

Sources, each read beside its published program: varifocal, Zhang et al., "VarifocalNet", CVPR 2021. mal, Huang et al.,
"DEIM: DETR with Improved Matching for Fast Convergence", CVPR 2025 (`loss_labels_mal` of engine/deim/deim_criterion.py
with gamma 1.5 and no mal_alpha; the same in transformers' `Deimv2Loss`). iou_bce, Cai et al., "Align-DETR", 2023
(`IA_BCE_loss` of aligndetr/modeling/losses.py with one match for each object). position_supervised, Liu et al.,
"Detection Transformer with Stable Matching", ICCV 2023 (`loss_labels_stabledino` of
projects/stabledino/modeling/dn_criterion.py with ta_alpha 0 and ta_beta 2; its loss_class has the weight 6).
"""

from collections.abc import Callable
from typing import Final, Literal

import torch
from mmdet.models.losses import QualityFocalLoss
from mmdet.models.losses.varifocal_loss import varifocal_loss
from mmdet.registry import MODELS
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from paploss.trainer.heads.autocast import without_autocast

MAL_GAMMA = 1.5
IOU_BCE_ALPHA = 0.25
SMALLEST_IOU_BCE_TARGET = 0.01
FOCUS = 2.0
"""Exponent of the weights."""
POSITION_ALPHA = 0.25
"""Weight of a positive in the position-supervised loss; 1 less it is that of the others."""
EPSILON = 1e-8


def _varifocal(logits: Tensor, _: Tensor, u: Tensor) -> Tensor:
    values: Tensor = varifocal_loss(logits, u, alpha=0.75, gamma=FOCUS, iou_weighted=True, reduction="none")
    return values


def _mal(logits: Tensor, y: Tensor, u: Tensor) -> Tensor:
    weights = torch.where(y > 0, 1.0, logits.detach().sigmoid().pow(MAL_GAMMA))
    return weights * binary_cross_entropy_with_logits(logits, u.pow(MAL_GAMMA), reduction="none")


def _iou_bce(logits: Tensor, y: Tensor, u: Tensor) -> Tensor:
    p = logits.sigmoid()
    fit = p.detach().pow(IOU_BCE_ALPHA) * u.pow(1 - IOU_BCE_ALPHA)
    target = y * fit.clamp_min(SMALLEST_IOU_BCE_TARGET)
    weights = torch.where(y > 0, 1.0, p.pow(FOCUS))
    return weights * binary_cross_entropy_with_logits(logits, target, reduction="none")


def _position_supervised(logits: Tensor, y: Tensor, u: Tensor) -> Tensor:
    squares = u.square()
    target = squares / (squares.amax(dim=(-2, -1), keepdim=True) + EPSILON)
    weights = torch.where(y > 0, POSITION_ALPHA, 1 - POSITION_ALPHA) * (target - logits.sigmoid()).pow(FOCUS)
    return weights * binary_cross_entropy_with_logits(logits, target, reduction="none")


FORMULAS: Final[dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "varifocal": _varifocal,
    "mal": _mal,
    "iou_bce": _iou_bce,
    "position_supervised": _position_supervised,
}
"""By the name of the loss: from x, y and u to the loss of each entry, `[images, candidates, C]` each."""


@MODELS.register_module()
class IoUTargetLoss(QualityFocalLoss):  # type: ignore[misc]
    """One of FORMULAS, called as mmdet's DETR head calls a QualityFocalLoss.

    Args:
        formula: a name in FORMULAS.
        image_candidates: candidates of an image, for what a formula takes over an image; without it all are of one.
        loss_weight: factor on the loss.
        use_sigmoid: True, which mmdet's heads read in the configuration of a loss.

    Raises:
        ValueError: the name is not known.
    """

    def __init__(
        self, formula: str, image_candidates: int | None = None, loss_weight: float = 1.0, *, use_sigmoid: Literal[True]
    ) -> None:
        super().__init__(use_sigmoid=use_sigmoid, loss_weight=loss_weight)
        if formula not in FORMULAS:
            raise ValueError(f"formula: expected one of {', '.join(FORMULAS)}, got {formula!r}")
        self.formula = formula
        self.image_candidates = image_candidates

    @without_autocast
    def forward(
        self, logits: Tensor, target: tuple[Tensor, Tensor], weight: Tensor, avg_factor: float | Tensor
    ) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            logits: `[M, C]`, image by image.
            target: labels `[M]` int64, C where a candidate has no object; and the IoU of its box with its object `[M]`.
            weight: `[M]`, factors on the candidates.
            avg_factor: the sum over all entries is divided by it.
        """
        labels, iou = target
        y = one_hot(labels, logits.shape[1] + 1)[:, :-1].to(logits.dtype)
        images = (-1, self.image_candidates or len(logits), logits.shape[1])
        x, y, u = (one.reshape(images) for one in (logits, y, y * iou[:, None].to(logits.dtype)))
        values = FORMULAS[self.formula](x, y, u).flatten(0, 1)
        loss: Tensor = self.loss_weight * (values * weight[:, None]).sum() / avg_factor
        return loss
