"""What heads on anchors share: mmdet assigns the targets, and all anchors of a device's images rank together."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from paploss.trainer.heads.delta_ranking import DeltaRanking


class AnchorRanking(DeltaRanking):
    """Gives an mmdet AnchorHead, named after it among the bases, the loss of its `objective`."""

    def loss_by_feat(
        self: Any,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: Sequence[Any],
        batch_img_metas: Sequence[dict[str, Any]],
        batch_gt_instances_ignore: Sequence[Any] | None = None,
    ) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            cls_scores: per level `[B, A * C, H, W]` logits.
            bbox_preds: per level `[B, A * 4, H, W]` deltas.
            batch_gt_instances: per image `bboxes [n, 4]` in pixels and `labels [n]`.
            batch_img_metas: per image mmdet's meta information.
            batch_gt_instances_ignore: per image `bboxes` of crowds, whose anchors are left out.

        Returns:
            What the objective returns: named scalars.
        """
        featmap_sizes = [scores.shape[-2:] for scores in cls_scores]
        anchors, valid_flags = self.get_anchors(featmap_sizes, batch_img_metas, device=cls_scores[0].device)
        labels, label_weights, bbox_targets, _, _ = self.get_targets(
            anchors, valid_flags, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        losses: dict[str, Tensor] = self.objective.losses_of(
            flatten_levels(cls_scores, self.cls_out_channels),
            torch.cat(labels, dim=1).flatten(),
            torch.cat(label_weights, dim=1).flatten(),
            flatten_levels(bbox_preds, 4),
            torch.cat(bbox_targets, dim=1).flatten(0, 1),
            corners=self.corners,
        )
        return losses


def flatten_levels(outputs: Sequence[Tensor], channels: int) -> Tensor:
    """Per level `[B, A * channels, H, W]` to `[B * anchors, channels]`, in the order of the anchors."""
    flat = [output.permute(0, 2, 3, 1).reshape(len(output), -1, channels) for output in outputs]
    return torch.cat(flat, dim=1).flatten(0, 1)
