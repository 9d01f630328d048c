"""ATSS's head with a loss that ranks every (anchor, class) entry of a device's images together."""

from typing import Any

from mmcv.cnn import Scale
from mmdet.models.dense_heads import ATSSHead
from mmdet.registry import MODELS
from torch import Tensor

from paploss.trainer.heads.anchor_ranking import AnchorRanking


class WithoutCenterness:
    """Takes the centerness branch from an mmdet ATSSHead, named after it among the bases.

    ATSS multiplies scores with it in tests. Where a loss has made of how well a box fits a part of the score already,
    that would count it twice.
    """

    def _init_layers(self: Any) -> None:
        super()._init_layers()  # type: ignore[misc]
        del self.atss_centerness

    def forward_single(self: Any, x: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
        """Logits `[B, A * C, H, W]` and deltas `[B, A * 4, H, W]` of one level's features `[B, channels, H, W]`."""
        class_features = box_features = x
        for class_layer, box_layer in zip(self.cls_convs, self.reg_convs, strict=True):
            class_features, box_features = class_layer(class_features), box_layer(box_features)
        return self.atss_cls(class_features), scale(self.atss_reg(box_features))


@MODELS.register_module()
class RankingATSSHead(WithoutCenterness, AnchorRanking, ATSSHead):  # type: ignore[misc]
    """An ATSSHead whose loss covers classification and localisation of all levels and images at once.

    Args:
        ranking: arguments of `RankingObjective`.
        **head: arguments of mmdet's ATSSHead, without its losses.
    """

    def __init__(self, *, ranking: dict[str, Any], **head: Any) -> None:
        super().__init__(reg_decoded_bbox=False, **head)
        self.build_objective(ranking)

    def get_targets(self, *arguments: Any, **options: Any) -> tuple[Any, ...]:
        """As in mmdet's AnchorHead, from which ATSSHead's differs by the anchors in front."""
        targets: tuple[Any, ...] = super().get_targets(*arguments, **options)
        return targets[1:]
