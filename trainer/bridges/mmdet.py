"""In mmdet a configuration names the head; `NAME_OF_THIS_FILE` has to be on Python's path:

    custom_imports = dict(imports=["NAME_OF_THIS_FILE"])
    model = dict(bbox_head=dict(type="ParameterizedAPRetinaHead", bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2])))

beside `_base_ = "retinanet_r50_fpn_1x_coco.py"` of mmdet. The head's own `loss_cls` and `loss_bbox` are unused. Anchors
are matched as in mmdet; all anchors and classes of a device's images rank together.
"""

from typing import Any

from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from torch import Tensor, cat

from paploss.losses.standalone import HeadLoss

MAX_LOG_RATIO = 4.135
"""Bound on |dw| and |dh|, beyond which the gradient is cut: log(1000 / 16), as in mmdet."""


@MODELS.register_module()
class ParameterizedAPRetinaHead(RetinaHead):  # type: ignore[misc]
    """A RetinaHead whose one loss covers classes and boxes; arguments as of RetinaHead."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.reg_decoded_bbox or not self.use_sigmoid_cls:
            raise ValueError("expected reg_decoded_bbox=False and a loss_cls with use_sigmoid=True")
        self.loss_of_head = HeadLoss("bbox_head")

    def loss_by_feat(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], truth: Any, metas: Any, ignored: Any = None
    ) -> dict[str, Tensor]:
        """Under the name `loss_rank`; arguments as of RetinaHead."""
        sizes = [scores.shape[-2:] for scores in cls_scores]
        anchors, valid = self.get_anchors(sizes, metas, device=cls_scores[0].device)
        labels, weights, box_targets, *_ = self.get_targets(anchors, valid, truth, metas, ignored)
        flat_labels = cat(labels, dim=1).flatten().masked_fill(cat(weights, dim=1).flatten() == 0, -1)
        outputs = _flat(bbox_preds, 4), cat(box_targets, dim=1).flatten(0, 1)
        return {
            "loss_rank": self.loss_of_head(_flat(cls_scores, self.num_classes), flat_labels, *outputs, self._corners)
        }

    def _corners(self, outputs: Tensor) -> Tensor:
        """Of boxes relative to an anchor of size 1 around 0."""
        deltas = outputs * outputs.new_tensor(self.bbox_coder.stds) + outputs.new_tensor(self.bbox_coder.means)
        half = deltas[:, 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() / 2
        return cat((deltas[:, :2] - half, deltas[:, :2] + half), dim=1)


def _flat(levels: list[Tensor], channels: int) -> Tensor:
    """Per level `[B, A * channels, H, W]` to `[B * anchors, channels]`."""
    return cat([one.permute(0, 2, 3, 1).reshape(len(one), -1, channels) for one in levels], dim=1).flatten(0, 1)
