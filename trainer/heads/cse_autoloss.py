"""CSE-AutoLoss-A and -B, two pairs of losses that a search over formulas found, as mmdet loss modules.

| symbol  | meaning                                                                              |
|---------|--------------------------------------------------------------------------------------|
| x       | logits                                                                               |
| y       | 1 at the entry of a candidate's class, else 0                                        |
| w       | IoU of a positive's decoded box with its object, detached                            |
| q       | w y                                                                                  |
| i, u, e | areas of intersection, union and hull of box and object in px^2, EPSILON added to u and e |

A, for two stages:

    cls = -(1 + sin w) sum over classes of y log(softmax(x) + 1e-20), with w = 1 for background
    reg = (1 - i / u) + (1 - (i + 2) / e)

B, for one stage, with erf~(v) = (1 + erf(sqrt(pi) v / 4)) / 2 and gd(x) = 1/2 + (2 / pi) atan(tanh(pi x / 8)):

    cls = -alpha_t [q (1 + erf~(sigmoid(1 - y))) log sigmoid(x) + (gd(x) - q) (sigmoid(x) - q) log(1 - sigmoid(x))]
    reg = (3 e u + 12 e + 3 i + 3 u + 18) / (-3 e u + i u + u^2 - 15 e + 5 i + 5 u)

The box loss of B runs from about -1, far away, to about -3, where the boxes coincide. Source: Liu et al., "Loss
Function Discovery for Object Detection via Convergence-Simulation Driven Search", ICLR 2021.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

EPSILON = 1e-7
SMALLEST_IOU = 1e-7
SMALLEST_PROBABILITY = 1e-20
ALPHA = 0.25
"""Share of the positives in the weights alpha_t of B, as in focal loss."""


class Areas(NamedTuple):
    """Areas of pairs of boxes, `[n]` each, in px^2."""

    intersection: Tensor
    union: Tensor
    hull: Tensor


def areas_of_pairs(boxes: Tensor, targets: Tensor) -> Areas:
    """Areas of boxes and targets, both `[n, 4]` corners in pixels."""
    overlap = (torch.minimum(boxes[:, 2:], targets[:, 2:]) - torch.maximum(boxes[:, :2], targets[:, :2])).clamp_min(0)
    hull = (torch.maximum(boxes[:, 2:], targets[:, 2:]) - torch.minimum(boxes[:, :2], targets[:, :2])).clamp_min(0)
    own, other = ((corners[:, 2:] - corners[:, :2]).prod(dim=1) for corners in (boxes, targets))
    intersection = overlap.prod(dim=1)
    return Areas(intersection, own + other - intersection + EPSILON, hull.prod(dim=1) + EPSILON)


def detached_iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """w of boxes and targets, both `[n, 4]`: their IoU, at least SMALLEST_IOU, without a gradient, `[n]`."""
    areas = areas_of_pairs(boxes.detach(), targets)
    return (areas.intersection / areas.union).clamp_min(SMALLEST_IOU)


def classification_a(logits: Tensor, labels: Tensor, iou: Tensor) -> Tensor:
    """A's loss of each candidate.

    Args:
        logits: `[n, C + 1]`, background last.
        labels: `[n]` int64 in [0, C].
        iou: w, `[n]`, 1 for background.

    Returns:
        `[n]`.
    """
    own = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    return -(1 + iou.sin()) * (own + SMALLEST_PROBABILITY).log()


def classification_b(logits: Tensor, labels: Tensor, iou: Tensor) -> Tensor:
    """B's loss of each entry.

    Args:
        logits: `[n, C]`.
        labels: `[n]` int64 in [0, C]; C is background.
        iou: w, `[n]`, read at positives.

    Returns:
        `[n, C]`.
    """
    y = nn.functional.one_hot(labels, logits.shape[1] + 1)[:, :-1].to(logits.dtype)
    q = y * iou[:, None]
    boost = 0.5 * (1 + torch.erf(math.sqrt(math.pi) / 4 * (1 - y).sigmoid()))
    gudermannian = 0.5 + 2 / math.pi * torch.atan(torch.tanh(math.pi / 8 * logits))
    at_positives = q * (1 + boost) * logsigmoid(logits)
    at_others = (gudermannian - q) * (logits.sigmoid() - q) * logsigmoid(-logits)
    alpha = ALPHA * y + (1 - ALPHA) * (1 - y)
    return -alpha * (at_positives + at_others)


def regression_a(areas: Areas) -> Tensor:
    """A's loss of each pair of boxes, `[n]`."""
    i, u, e = areas
    return (1 - i / u) + (1 - (i + 2) / e)


def regression_b(areas: Areas) -> Tensor:
    """B's loss of each pair of boxes, `[n]`; the denominator is below 0 for every pair of boxes."""
    i, u, e = areas
    return (3 * e * u + 12 * e + 3 * i + 3 * u + 18) / (-3 * e * u + i * u + u.square() - 15 * e + 5 * i + 5 * u)


@MODELS.register_module()
class CSEAutoLossAClassification(nn.Module):
    """`classification_a`, averaged over the candidates that have a weight."""

    def forward(self, logits: Tensor, target: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            logits: as in `classification_a`.
            target: its labels and iou.
            weights: `[n]`.
        """
        return (classification_a(logits, *target) * weights).sum() / (weights > 0).sum().clamp_min(1)


@MODELS.register_module()
class CSEAutoLossBClassification(nn.Module):
    """`classification_b`, summed.

    Args:
        use_sigmoid: True, which mmdet's heads read in the configuration of a loss.
    """

    def __init__(self, use_sigmoid: bool = True) -> None:
        super().__init__()
        if not use_sigmoid:
            raise ValueError("use_sigmoid: expected True, got False")

    def forward(self, logits: Tensor, target: tuple[Tensor, Tensor], weights: Tensor, *, avg_factor: float) -> Tensor:
        """The loss of a batch divided by avg_factor, a scalar.

        Args:
            logits: as in `classification_b`.
            target: its labels and iou.
            weights: `[n]`.
            avg_factor: the divisor.
        """
        return (classification_b(logits, *target) * weights[:, None]).sum() / avg_factor


@MODELS.register_module()
class CSEAutoLossBox(nn.Module):
    """`regression_a` or `regression_b`, called as mmdet's heads call a box loss on corners.

    Args:
        variant: `a` or `b`.
        loss_weight: factor on the loss.
    """

    def __init__(self, variant: Literal["a", "b"], loss_weight: float = 1.0) -> None:
        super().__init__()
        self.variant = variant
        self.loss_weight = loss_weight

    def forward(self, boxes: Tensor, targets: Tensor, weight: Tensor, *, avg_factor: float, **_: Any) -> Tensor:
        """The weighted sum over pairs divided by avg_factor, a scalar.

        Args:
            boxes: `[n, 4]` corners in pixels.
            targets: `[n, 4]`.
            weight: `[n]`, or `[n, 4]` with equal columns.
            avg_factor: the divisor.
        """
        if weight.ndim == 2:
            weight = weight[:, 0]
        counts = weight > 0  # the others are not boxes of any object
        areas = areas_of_pairs(boxes[counts], targets[counts])
        values = regression_a(areas) if self.variant == "a" else regression_b(areas)
        return self.loss_weight * (values * weight[counts]).sum() / avg_factor + 0 * boxes.sum()
