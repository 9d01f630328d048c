"""The region proposal network's head with a loss that ranks every anchor of a device's images together."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor

from trainer.heads.anchor_ranking import rank_anchors
from trainer.heads.objective import RankingObjective

OBJECT_PRIOR = 0.01
"""The score of every anchor before training."""


@MODELS.register_module()
class RankingRPNHead(RPNHead):  # type: ignore[misc]
    """An RPNHead whose loss covers objectness and localisation of all levels and images at once.

    Its `train_cfg` should name a PseudoSampler, mmdet's word for no sampling.

    Args:
        ranking: arguments of `RankingObjective`.
        **head: arguments of mmdet's RPNHead. Its own `loss_cls` and `loss_bbox` are unused.
    """

    def __init__(self, *, ranking: dict[str, Any], **head: Any) -> None:
        scores = {"type": "Normal", "name": "rpn_cls", "std": 0.01, "bias_prob": OBJECT_PRIOR}
        super().__init__(init_cfg={"type": "Normal", "layer": "Conv2d", "std": 0.01, "override": scores}, **head)
        self.objective = RankingObjective(**ranking)

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: Sequence[Any],
        batch_img_metas: Sequence[dict[str, Any]],
        batch_gt_instances_ignore: Sequence[Any] | None = None,
    ) -> dict[str, Tensor]:
        """The losses of a batch, named `loss_rpn_*`; see `rank_anchors`; all labels are 0."""
        losses = rank_anchors(
            self,
            cls_scores,
            bbox_preds,
            objects=batch_gt_instances,
            crowds=batch_gt_instances_ignore,
            metas=batch_img_metas,
        )
        return {name.replace("loss_", "loss_rpn_"): value for name, value in losses.items()}
