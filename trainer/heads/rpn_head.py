"""The region proposal network's head with a loss that ranks every anchor of a device's images together."""

from typing import Any

from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor

from paploss.trainer.heads.anchor_ranking import AnchorRanking

OBJECT_PRIOR = 0.01
"""The score of every anchor before training."""


@MODELS.register_module()
class RankingRPNHead(AnchorRanking, RPNHead):  # type: ignore[misc]
    """An RPNHead whose loss covers objectness and localisation of all levels and images at once.

    Its `train_cfg` should name a PseudoSampler, mmdet's word for no sampling.

    Args:
        ranking: arguments of `RankingObjective`.
        **head: arguments of mmdet's RPNHead. Its own `loss_cls` and `loss_bbox` are unused.
    """

    def __init__(self, *, ranking: dict[str, Any], **head: Any) -> None:
        scores = {"type": "Normal", "name": "rpn_cls", "std": 0.01, "bias_prob": OBJECT_PRIOR}
        super().__init__(init_cfg={"type": "Normal", "layer": "Conv2d", "std": 0.01, "override": scores}, **head)
        self.build_objective(ranking)

    def loss_by_feat(self, *arguments: Any, **options: Any) -> dict[str, Tensor]:
        """As in `AnchorRanking`, named `loss_rpn_*`; all labels are 0."""
        losses = super().loss_by_feat(*arguments, **options)
        return {part.replace("loss_", "loss_rpn_"): value for part, value in losses.items()}
