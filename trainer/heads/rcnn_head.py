"""The second stage's head with a loss that ranks every (proposal, class) entry of a device's images together."""

from typing import Any

from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from torch import Tensor, nn

from paploss.trainer.heads.delta_ranking import DeltaRanking


@MODELS.register_module()
class IndependentClasses(nn.Module):
    """How mmdet's box heads learn, in place of `loss_cls`, of one sigmoid output per class and none for background."""

    custom_cls_channels = True

    def get_cls_channels(self, num_classes: int) -> int:
        """The number of outputs for `num_classes` classes."""
        return num_classes

    def get_activation(self, logits: Tensor) -> Tensor:
        """Scores `[n, C + 1]` of logits `[n, C]`; the last is 0, where mmdet expects background."""
        return nn.functional.pad(logits.sigmoid(), (0, 1))


@MODELS.register_module()
class RankingBBoxHead(DeltaRanking, Shared2FCBBoxHead):  # type: ignore[misc]
    """A Shared2FCBBoxHead whose loss covers classification and localisation of all proposals at once.

    The `train_cfg` of its RoI head should name a PseudoSampler: every proposal takes part, and no true box is added.

    Args:
        ranking: arguments of `RankingObjective`.
        **head: arguments of mmdet's Shared2FCBBoxHead but `loss_cls`. Its own `loss_bbox` is unused.
    """

    def __init__(self, *, ranking: dict[str, Any], **head: Any) -> None:
        super().__init__(loss_cls={"type": "IndependentClasses"}, **head)
        self.build_objective(ranking)

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        _rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        *_: Any,
        **__: Any,
    ) -> dict[str, Tensor]:
        """The losses of M proposals of all images, whose boxes are measured relative to the proposals.

        Args:
            cls_score: `[M, C]` logits.
            bbox_pred: `[M, C * 4]` deltas, or `[M, 4]` with `reg_class_agnostic`.
            labels: `[M]`; C is background.
            label_weights: `[M]`.
            bbox_targets: `[M, 4]` deltas.

        Returns:
            What the objective returns: named scalars. What else mmdet passes is unused.
        """
        deltas = bbox_pred if self.reg_class_agnostic else bbox_pred.reshape(-1, self.num_classes, 4)
        return self.objective.losses_of(cls_score, labels, label_weights, deltas, bbox_targets, corners=self.corners)
