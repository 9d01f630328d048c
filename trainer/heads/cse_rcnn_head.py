"""The second stage's head for CSE-AutoLoss-A, whose classification loss depends on how well the boxes fit."""

from typing import Any

from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from torch import Tensor

from paploss.trainer.heads.autocast import without_autocast
from paploss.trainer.heads.cse_autoloss import detached_iou


@MODELS.register_module()
class CSEAutoLossBBoxHead(Shared2FCBBoxHead):  # type: ignore[misc]
    """A Shared2FCBBoxHead that gives `CSEAutoLossAClassification` the IoU of each positive's box with its object.

    Args:
        loss_bbox: a loss of corners in pixels.
        **head: further arguments of mmdet's Shared2FCBBoxHead.
    """

    def __init__(self, *, loss_bbox: dict[str, Any], **head: Any) -> None:
        super().__init__(
            loss_cls={"type": "CSEAutoLossAClassification"}, loss_bbox=loss_bbox, reg_decoded_bbox=True, **head
        )

    @without_autocast
    def loss(  # noqa: PLR0917 (mmdet passes by position)
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        *_: Any,
        **__: Any,
    ) -> dict[str, Tensor]:
        """The losses of M proposals of all images.

        Args:
            cls_score: `[M, C + 1]` logits, background last.
            bbox_pred: `[M, C * 4]` deltas.
            rois: `[M, 5]`: the number of the image, and corners in pixels.
            labels: `[M]`; C is background.
            label_weights: `[M]`.
            bbox_targets: `[M, 4]` corners in pixels.
            bbox_weights: `[M, 4]`.

        Returns:
            `loss_cls` and `loss_bbox`, scalars.
        """
        positives = (labels < self.num_classes).nonzero().squeeze(1)
        boxes = self.bbox_coder.decode(rois[:, 1:], bbox_pred).reshape(-1, self.num_classes, 4)
        own, targets = boxes[positives, labels[positives]], bbox_targets[positives]
        iou = label_weights.new_ones(len(labels)).index_copy(0, positives, detached_iou(own, targets))
        return {
            "loss_cls": self.loss_cls(cls_score, (labels, iou), label_weights),
            "loss_bbox": self.loss_bbox(own, targets, bbox_weights[positives], avg_factor=max(1, len(labels))),
        }
