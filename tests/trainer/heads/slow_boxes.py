"""Overlaps of two boxes (x1, y1, x2, y2), one pair at a time, straight from their definitions."""

import torch
from torch import Tensor


def area(box: Tensor) -> Tensor:
    return (box[2] - box[0]).clamp_min(0) * (box[3] - box[1]).clamp_min(0)


def common_and_union(box: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    common = area(torch.cat((torch.maximum(box[:2], other[:2]), torch.minimum(box[2:], other[2:]))))
    return common, area(box) + area(other) - common


def iou(box: Tensor, other: Tensor) -> Tensor:
    common, union = common_and_union(box, other)
    return common / union


def giou(box: Tensor, other: Tensor) -> Tensor:
    common, union = common_and_union(box, other)
    hull = area(torch.cat((torch.minimum(box[:2], other[:2]), torch.maximum(box[2:], other[2:]))))
    return common / union - (hull - union) / hull
