"""What stands between a detector head and its objective: the entries of a batch, and how well its positives' boxes fit.

| symbol | meaning                                                                                  | shape |
|--------|------------------------------------------------------------------------------------------|-------|
| M, C   | candidates (anchors, proposals or queries) of all images of a device, and classes        |       |
| N      | M * C entries, each a logit that competes with all others                                |       |
| P      | positives: candidates with an object's label and a weight; one entry of each is positive |       |

An objective knows neither anchors nor box coders. A head says what its box outputs are by a function from them to
corners; everything else is the same for all heads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from paploss.jobs.losses import Quality
from paploss.trainer.heads.autocast import without_autocast
from paploss.trainer.heads.gradient import scale_gradient
from paploss.trainer.heads.quality import box_quality


@dataclass(frozen=True)
class Ranked:
    """The entries of a batch, and its positives in the order of their entries."""

    logits: Tensor
    """`[N]` floating, at least float32."""
    targets: Tensor
    """1 positive, 0 negative, -1 ignored, `[N]` int8."""
    quality: Tensor
    """Localisation quality u of each positive, `[P]` in [0, 1]; the gradient flows to the box outputs."""
    giou: Tensor
    """GIoU of each positive, `[P]` in [-1, 1]; the gradient flows to the box outputs."""
    iou: Tensor
    """IoU of each positive, `[P]`, without a gradient."""
    errors: Tensor
    """Box outputs minus their targets, `[P, 4]`, in the head's units; the gradient flows to the box outputs."""
    output_sum: Tensor
    """Sum of all outputs of the head, a scalar: ties each of them to the graph, also those without a positive."""


@without_autocast
def rank(
    logits: Tensor,
    labels: Tensor,
    label_weights: Tensor,
    boxes: Tensor,
    box_targets: Tensor,
    *,
    corners: Callable[[Tensor], Tensor],
    quality: Quality,
    gradient_scale: float,
) -> Ranked:
    """The entries of M candidates, in float32, or in float64 where that is given.

    Args:
        logits: `[M, C]`.
        labels: `[M]` int64, a class in [0, C), or C for background.
        label_weights: `[M]`; 0 leaves a candidate out, in all classes.
        boxes: `[M, 4]` box outputs, or `[M, C, 4]` where each class has its own.
        box_targets: `[M, 4]`, read at positives.
        corners: from box outputs `[n, 4]` to corners (x1, y1, x2, y2) `[n, 4]`, in any unit that both boxes of a pair
            share.
        quality: measure of localisation, see `paploss.trainer.heads.quality`.
        gradient_scale: factor on the gradient that reaches the box outputs; the values stay.
    """
    class_count = logits.shape[1]
    positives = ((labels < class_count) & (label_weights > 0)).nonzero().squeeze(1)
    classes = labels[positives]
    targets = (label_weights > 0).to(torch.int8) - 1
    entries = positives * class_count + classes
    targets = targets[:, None].expand_as(logits).flatten().index_fill_(0, entries, 1)
    own = boxes[positives] if boxes.ndim == 2 else boxes[positives, classes]
    own, own_targets = scale_gradient(own, gradient_scale), box_targets[positives]
    predicted, true = corners(own), corners(own_targets)
    giou_quality = box_quality(predicted, true, "giou")
    return Ranked(
        logits=logits.flatten(),
        targets=targets,
        quality=giou_quality if quality == "giou" else box_quality(predicted, true, quality),
        giou=2 * giou_quality - 1,
        iou=box_quality(predicted.detach(), true, "iou"),
        errors=own - own_targets,
        output_sum=logits.sum() + boxes.sum(),
    )
