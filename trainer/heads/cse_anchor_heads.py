"""One-stage heads for CSE-AutoLoss-B, whose classification part needs the IoU of each positive's box."""

from mmdet.models.dense_heads import ATSSHead, RetinaHead
from mmdet.registry import MODELS
from torch import Tensor

from paploss.trainer.heads.anchor_ranking import flatten_levels
from paploss.trainer.heads.autocast import without_autocast
from paploss.trainer.heads.cse_autoloss import detached_iou


@MODELS.register_module()
class CSEAutoLossRetinaHead(RetinaHead):  # type: ignore[misc]
    """mmdet's RetinaHead with CSE-AutoLoss-B; configure `reg_decoded_bbox=True` and the two loss modules of B."""

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
        iou = detached_iou(boxes, targets)
        return (
            self.loss_cls(logits, labels.flatten(), label_weights.flatten(), iou, avg_factor=avg_factor),
            self.loss_bbox(boxes, targets, bbox_weights.reshape(-1, 4), avg_factor=avg_factor),
        )


@MODELS.register_module()
class CSEAutoLossATSSHead(ATSSHead):  # type: ignore[misc]
    """mmdet's ATSSHead with CSE-AutoLoss-B.

    As released with the losses, the IoU takes the place of the centerness: as target of that branch, and as weight of
    each box.
    """

    @without_autocast
    def loss_by_feat_single(  # noqa: PLR0917 - mmdet calls by position
        self,
        anchors: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        centerness: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        avg_factor: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Class, box and centerness loss of one level and the sum of its box weights; arguments as in mmdet."""
        labels = labels.flatten()
        boxes = self.bbox_coder.decode(anchors.reshape(-1, 4), flatten_levels([bbox_pred], 4))
        targets = bbox_targets.reshape(-1, 4)
        logits = flatten_levels([cls_score], self.cls_out_channels)
        iou = detached_iou(boxes, targets)
        positive = labels < self.num_classes
        weights = iou * positive
        fit = self.loss_centerness(flatten_levels([centerness], 1).squeeze(1), iou, positive, avg_factor=avg_factor)
        return (
            self.loss_cls(logits, labels, label_weights.flatten(), iou, avg_factor=avg_factor),
            self.loss_bbox(boxes, targets, weights, avg_factor=1.0),
            fit,
            weights.sum(),
        )
