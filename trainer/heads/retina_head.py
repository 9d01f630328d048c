"""RetinaNet's head with a loss that ranks every (anchor, class) entry of a device's images together."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from torch import Tensor

from trainer.heads.anchor_ranking import rank_anchors
from trainer.heads.objective import RankingObjective


@MODELS.register_module()
class RankingRetinaHead(RetinaHead):  # type: ignore[misc]
    """A RetinaHead whose loss covers classification and localisation of all levels and images at once.

    Args:
        ranking: arguments of `RankingObjective`, such as `{"name": "handmade_ap", "form": "linear"}`.
        **head: arguments of mmdet's RetinaHead. Its own `loss_cls` and `loss_bbox` are unused, except that `loss_cls`
            selects sigmoid outputs.
    """

    def __init__(self, *, ranking: dict[str, Any], **head: Any) -> None:
        super().__init__(**head)
        if not self.use_sigmoid_cls:
            raise ValueError("loss_cls: expected a loss with use_sigmoid=True, a ranking loss has no background class")
        self.objective = RankingObjective(**ranking)

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: Sequence[Any],
        batch_img_metas: Sequence[dict[str, Any]],
        batch_gt_instances_ignore: Sequence[Any] | None = None,
    ) -> dict[str, Tensor]:
        """The losses of a batch; see `rank_anchors`."""
        return rank_anchors(
            self,
            cls_scores,
            bbox_preds,
            objects=batch_gt_instances,
            crowds=batch_gt_instances_ignore,
            metas=batch_img_metas,
        )
