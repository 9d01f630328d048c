"""In torchvision a RetinaNet takes a head of one's own:

    head = RankingRetinaNetHead(backbone.out_channels, anchor_generator.num_anchors_per_location()[0], num_classes)
    model = RetinaNet(backbone, num_classes, anchor_generator=anchor_generator, head=head)

Anchors are matched as torchvision does it; all anchors and classes of a batch rank together.
"""

from typing import Any

from torch import Tensor, cat, full_like, zeros_like
from torchvision.models.detection.retinanet import RetinaNetHead

from paploss.losses.standalone import HeadLoss

STDS = (0.1, 0.1, 0.2, 0.2)
"""Of the box outputs (dx, dy, dw, dh), as published: the layers put out a tenth or a fifth of torchvision's."""
MAX_LOG_RATIO = 4.135
"""Bound on |dw| and |dh|, beyond which the gradient is cut: log(1000 / 16), as in torchvision."""


class RankingRetinaNetHead(RetinaNetHead):  # type: ignore[misc]
    """A RetinaNetHead whose one loss covers classes and boxes; arguments as of RetinaNetHead."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.loss = HeadLoss("bbox_head")

    def forward(self, features: list[Tensor]) -> dict[str, Tensor]:
        """As of RetinaNetHead."""
        outputs: dict[str, Tensor] = super().forward(features)
        boxes = outputs["bbox_regression"]
        return {**outputs, "bbox_regression": boxes * boxes.new_tensor(STDS)}

    def compute_loss(
        self,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: Any,
    ) -> dict[str, Tensor]:
        """Under the name `loss_rank`; arguments as torchvision's RetinaNet hands them over."""
        logits, boxes = head_outputs["cls_logits"], head_outputs["bbox_regression"]
        labels, box_targets = [], []
        for target, own_anchors, matched in zip(targets, anchors, matched_idxs, strict=True):
            own = full_like(matched, logits.shape[-1])
            own[matched == -2] = -1  # between the thresholds
            deltas = zeros_like(own_anchors)
            positive = matched >= 0
            own[positive] = target["labels"][matched[positive]]
            true = target["boxes"][matched[positive]].to(own_anchors.dtype)
            deltas[positive] = self.regression_head.box_coder.encode_single(true, own_anchors[positive])
            labels.append(own)
            box_targets.append(deltas)
        stds = boxes.new_tensor(STDS)
        outputs = boxes.flatten(0, 1) / stds, cat(box_targets) / stds
        return {"loss_rank": self.loss(logits.flatten(0, 1), cat(labels), *outputs, _corners)}


def _corners(outputs: Tensor) -> Tensor:
    """Of boxes relative to an anchor of size 1 around 0."""
    deltas = outputs * outputs.new_tensor(STDS)
    half = deltas[:, 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() / 2
    return cat((deltas[:, :2] - half, deltas[:, :2] + half), dim=1)
