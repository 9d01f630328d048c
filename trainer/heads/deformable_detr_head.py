"""Deformable DETR's head with a loss that ranks every (query, class) entry of a device's images together."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import DeformableDETRHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.structures import InstanceData
from torch import Tensor

from paploss.trainer.heads.objective import RankingObjective

L1_WEIGHT = 5.0
"""That of DETR. Boxes are handed over in fifths of the image's sides, so that an L1 distance has this weight; ratios of
areas do not depend on the unit."""


@MODELS.register_module()
class RankingDeformableDETRHead(DeformableDETRHead):  # type: ignore[misc]
    """A DeformableDETRHead whose loss covers classification and localisation of all queries and images at once.

    Each decoder layer has a ranking of its own: one over all of them would compare a box with earlier drafts of itself.
    Queries and objects are matched as in mmdet, which knows no crowds: queries inside one are negatives, as they are
    for the detector's own loss.

    Args:
        ranking: arguments of `RankingObjective`; all layers share them.
        **head: arguments of mmdet's DeformableDETRHead. Its own `loss_bbox` and `loss_iou` are unused, and `loss_cls`
            selects sigmoid outputs.
    """

    def __init__(self, *, ranking: dict[str, Any], **head: Any) -> None:
        super().__init__(**head)
        if self.as_two_stage:
            raise ValueError("as_two_stage: expected False, proposals of the encoder have no ranking loss here")
        if not self.loss_cls.use_sigmoid:
            raise ValueError("loss_cls: expected a loss with use_sigmoid=True, a ranking loss has no background class")
        self.objective = RankingObjective(**ranking)

    def loss_by_feat(  # noqa: PLR0917 - mmdet's signature
        self,
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        enc_cls_scores: None,  # noqa: ARG002 - mmdet's signature
        enc_bbox_preds: None,  # noqa: ARG002
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[dict[str, Any]],
        batch_gt_instances_ignore: None = None,  # noqa: ARG002 - mmdet's signature
    ) -> dict[str, Tensor]:
        """The losses of a batch of B images with Q queries each.

        Args:
            all_layers_cls_scores: `[layers, B, Q, C]` logits.
            all_layers_bbox_preds: `[layers, B, Q, 4]` boxes (cx, cy, w, h), in the sides of the image.
            enc_cls_scores: none, as in a detector of one stage.
            enc_bbox_preds: none.
            batch_gt_instances: per image `bboxes [n, 4]` in pixels and `labels [n]`.
            batch_img_metas: per image mmdet's meta information.
            batch_gt_instances_ignore: none.

        Returns:
            What the objective returns for the last layer, by name; for layer n before it named `dn.*`.
        """
        *earlier, last = (
            self._ranked(logits, boxes, batch_gt_instances, batch_img_metas)
            for logits, boxes in zip(all_layers_cls_scores, all_layers_bbox_preds, strict=True)
        )
        losses = dict(last)
        for number, layer in enumerate(earlier):
            losses |= {f"d{number}.{name}": value for name, value in layer.items()}
        return losses

    def _ranked(
        self,
        logits: Tensor,
        boxes: Tensor,
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[dict[str, Any]],
    ) -> dict[str, Tensor]:
        """The losses of one layer."""
        labels, label_weights, box_targets, *_ = self.get_targets(
            list(logits), list(boxes), batch_gt_instances, batch_img_metas
        )
        losses: dict[str, Tensor] = self.objective.losses_of(
            logits.flatten(0, 1),
            torch.cat(labels),
            torch.cat(label_weights),
            L1_WEIGHT * boxes.flatten(0, 1),
            L1_WEIGHT * torch.cat(box_targets),
            corners=bbox_cxcywh_to_xyxy,
        )
        return losses
