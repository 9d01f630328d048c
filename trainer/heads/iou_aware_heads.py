"""One-stage heads for losses of classes that depend on the IoU of each positive's box: CSE-AutoLoss-B, and those with
the IoU as target.

The module for classes is called as mmdet calls its QualityFocalLoss: logits `[n, C]`, labels and IoU `[n]` each,
weights `[n]`.
"""

from collections.abc import Sequence
from typing import Any

from mmdet.models.dense_heads import ATSSHead, RetinaHead
from mmdet.registry import MODELS
from torch import Tensor

from paploss.trainer.heads.anchor_ranking import flatten_levels
from paploss.trainer.heads.atss_head import WithoutCenterness
from paploss.trainer.heads.autocast import without_autocast
from paploss.trainer.heads.cse_autoloss import detached_iou


@MODELS.register_module()
class IoUAwareRetinaHead(RetinaHead):  # type: ignore[misc]
    """mmdet's RetinaHead whose loss of classes is given the IoU; configure `reg_decoded_bbox=True`."""

    @without_autocast
    def loss_by_feat_single(  # noqa: PLR0917 - mmdet calls by position
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        anchors: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        avg_factor: float,
    ) -> tuple[Tensor, Tensor]:
        """The losses of one level; arguments as in mmdet's AnchorHead, targets as corners in pixels."""
        boxes = self.bbox_coder.decode(anchors.reshape(-1, 4), flatten_levels([bbox_pred], 4))
        targets = bbox_targets.reshape(-1, 4)
        logits = flatten_levels([cls_score], self.cls_out_channels)
        fits = labels.flatten(), detached_iou(boxes, targets)
        return (
            self.loss_cls(logits, fits, label_weights.flatten(), avg_factor=avg_factor),
            self.loss_bbox(boxes, targets, bbox_weights.reshape(-1, 4), avg_factor=avg_factor),
        )


@MODELS.register_module()
class IoUAwareATSSHead(ATSSHead):  # type: ignore[misc]
    """mmdet's ATSSHead whose loss of classes is given the IoU.

    As released with CSE-AutoLoss, the IoU takes the place of the centerness: as target of that branch, and as weight of
    each box.
    """

    @without_autocast
    def loss_by_feat_single(  # noqa: PLR0917 - mmdet calls by position
        self,
        anchors: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        centerness: Tensor | None,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        avg_factor: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Class, box and centerness loss of one level and the sum of its box weights; arguments as in mmdet.

        Without a centerness its loss is 0.
        """
        labels = labels.flatten()
        boxes = self.bbox_coder.decode(anchors.reshape(-1, 4), flatten_levels([bbox_pred], 4))
        targets = bbox_targets.reshape(-1, 4)
        logits = flatten_levels([cls_score], self.cls_out_channels)
        iou = detached_iou(boxes, targets)
        positive = labels < self.num_classes
        weights = iou * positive
        fit = 0 * weights.sum()
        if centerness is not None:
            fit = self.loss_centerness(flatten_levels([centerness], 1).squeeze(1), iou, positive, avg_factor=avg_factor)
        return (
            self.loss_cls(logits, (labels, iou), label_weights.flatten(), avg_factor=avg_factor),
            self.loss_bbox(boxes, targets, weights, avg_factor=1.0),
            fit,
            weights.sum(),
        )


@MODELS.register_module()
class JointATSSHead(WithoutCenterness, IoUAwareATSSHead):
    """An IoUAwareATSSHead without the branch: its scores say class and fit in one, as in GFL and VarifocalNet.

    Boxes are weighted by their IoU, as in VarifocalNet.
    """

    def loss_by_feat(self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor], *batch: Any) -> dict[str, Any]:
        """`loss_cls` and `loss_bbox`, per level; what describes the batch is passed on to mmdet."""
        losses: dict[str, Any] = super().loss_by_feat(cls_scores, bbox_preds, [None] * len(cls_scores), *batch)
        del losses["loss_centerness"]
        return losses
