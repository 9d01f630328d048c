"""What heads on anchors share: mmdet assigns the targets, and all anchors of a device's images rank together."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def rank_anchors(
    head: Any,
    cls_scores: Sequence[Tensor],
    bbox_preds: Sequence[Tensor],
    *,
    objects: Sequence[Any],
    crowds: Sequence[Any] | None,
    metas: Sequence[dict[str, Any]],
) -> dict[str, Tensor]:
    """The losses of a batch.

    Args:
        head: mmdet's AnchorHead with a `RankingObjective` as `objective`.
        cls_scores: per level `[B, A * C, H, W]` logits.
        bbox_preds: per level `[B, A * 4, H, W]` deltas.
        objects: per image `bboxes [n, 4]` in pixels and `labels [n]`.
        crowds: per image `bboxes` of regions whose anchors are left out.
        metas: per image mmdet's meta information.

    Returns:
        What the objective returns: named scalars.
    """
    featmap_sizes = [scores.shape[-2:] for scores in cls_scores]
    anchors, valid_flags = head.get_anchors(featmap_sizes, metas, device=cls_scores[0].device)
    labels, label_weights, bbox_targets, _, _ = head.get_targets(anchors, valid_flags, objects, metas, crowds)
    losses: dict[str, Tensor] = head.objective(
        flatten_levels(cls_scores, head.cls_out_channels),
        torch.cat(labels, dim=1).flatten(),
        torch.cat(label_weights, dim=1).flatten(),
        flatten_levels(bbox_preds, 4),
        torch.cat(bbox_targets, dim=1).flatten(0, 1),
        means=head.bbox_coder.means,
        stds=head.bbox_coder.stds,
    )
    return losses


def flatten_levels(outputs: Sequence[Tensor], channels: int) -> Tensor:
    """Per level `[B, A * channels, H, W]` to `[B * anchors, channels]`, in the order of the anchors."""
    flat = [output.permute(0, 2, 3, 1).reshape(len(output), -1, channels) for output in outputs]
    return torch.cat(flat, dim=1).flatten(0, 1)
