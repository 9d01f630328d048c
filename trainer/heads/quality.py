"""Localisation quality of predicted boxes, the u of the Parameterized AP Loss.

Notation: a delta is a box relative to its anchor, (dx, dy, dw, dh): centre shift in anchor sizes and log size ratio.
Both boxes of a pair are decoded against the same unit anchor: IoU and GIoU do not change with the anchor, and `l1`,
which does, is then measured in anchor sizes instead of pixels.
"""

import math

import torch
from torch import Tensor

from paploss.jobs.spec import Quality

EPSILON = 1e-7
MAX_LOG_RATIO = math.log(62.5)
"""Bound on |dw| and |dh|: beyond it a box is 62.5 times its anchor and the gradient is cut."""


def decode_unit(deltas: Tensor) -> Tensor:
    """Corners of the boxes that `deltas` make of an anchor of size 1 centred at 0.

    Args:
        deltas: `[n, 4]`, (dx, dy, dw, dh), already multiplied with the coder's standard deviations.

    Returns:
        `[n, 4]`, (x1, y1, x2, y2) in anchor sizes.
    """
    centres = deltas[:, :2]
    half_sizes = 0.5 * deltas[:, 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    return torch.cat((centres - half_sizes, centres + half_sizes), dim=1)


def box_quality(boxes: Tensor, targets: Tensor, measure: Quality) -> Tensor:
    """Quality u of each box against its target.

    Args:
        boxes: `[n, 4]` predicted corners; the gradient flows to them.
        targets: `[n, 4]` corners.
        measure: `giou` is (GIoU + 1) / 2, `iou` is IoU, `l1` is 1 minus the summed corner distance, floored at 0.

    Returns:
        `[n]` in [0, 1].
    """
    if measure == "l1":
        return (1 - (boxes - targets).abs().sum(dim=1)).clamp(0, 1)
    overlap = (torch.minimum(boxes[:, 2:], targets[:, 2:]) - torch.maximum(boxes[:, :2], targets[:, :2])).clamp(min=0)
    intersection = overlap.prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) + (targets[:, 2:] - targets[:, :2]).prod(dim=1)
    union = (areas - intersection).clamp(min=EPSILON)
    iou = intersection / union
    if measure == "iou":
        return iou
    hull_sides = torch.maximum(boxes[:, 2:], targets[:, 2:]) - torch.minimum(boxes[:, :2], targets[:, :2])
    hull = hull_sides.prod(dim=1).clamp(min=EPSILON)
    giou = iou - (hull - union) / hull
    return ((giou + 1) / 2).clamp(0, 1)
