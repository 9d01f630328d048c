"""Localisation quality of predicted boxes, the u of the Parameterized AP Loss.

Notation: a delta is a box relative to its anchor, (dx, dy, dw, dh): centre shift in anchor sizes and log size ratio.
Both boxes of a pair are decoded against the same unit anchor: IoU and GIoU do not change with the anchor, and `l1`,
which does, is then measured in anchor sizes instead of pixels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from paploss.jobs.losses import Quality

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


class DeltaCorners(nn.Module):
    """From the deltas of a head to corners, as `decode_unit`.

    Args:
        means: of the coder that normalises the deltas, mmdet's `DeltaXYWHBBoxCoder`, 4 numbers.
        stds: its standard deviations, 4 numbers.
    """

    means: Tensor
    stds: Tensor

    def __init__(self, means: Sequence[float], stds: Sequence[float]) -> None:
        super().__init__()
        # Not in the state: the job says what they are. In float64, from which each dtype gets its nearest number.
        for name, values in (("means", means), ("stds", stds)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64), persistent=False)

    def forward(self, deltas: Tensor) -> Tensor:
        """Corners `[n, 4]` in anchor sizes, of normalised deltas `[n, 4]`."""
        return decode_unit(deltas * self.stds.to(deltas.dtype) + self.means.to(deltas.dtype))


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
