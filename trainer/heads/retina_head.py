"""RetinaNet's head with a loss that ranks every (anchor, class) entry of a device's images together."""

from typing import Any

from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS

from paploss.trainer.heads.anchor_ranking import AnchorRanking


@MODELS.register_module()
class RankingRetinaHead(AnchorRanking, RetinaHead):  # type: ignore[misc]
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
        self.build_objective(ranking)
