"""RetinaNet's head with a loss that ranks every (anchor, class) entry of a device's images together."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from torch import Tensor

from jobs.spec import Quality
from trainer.heads.gradient import scale_gradient
from trainer.heads.quality import box_quality, decode_unit
from trainer.heads.ranking import ranking_loss


@MODELS.register_module()
class RankingRetinaHead(RetinaHead):  # type: ignore[misc]
    """A RetinaHead whose one loss covers classification and localisation of all levels and images at once.

    Args:
        ranking: which loss: `{"name": "parameterized_ap", "control_points": [4 | 5, K+2, 2], "top_k": None}` or
            `{"name": "handmade_ap", "form": "sigmoid" | "linear" | "square"}`.
        quality: measure of localisation, see `trainer.heads.quality`.
        gradient_scale: factor on the gradient that reaches the box-regression output; the loss value stays.
        **head: arguments of mmdet's RetinaHead. Its own `loss_cls` and `loss_bbox` are unused, except that `loss_cls`
            selects sigmoid outputs.
    """

    def __init__(
        self, *, ranking: dict[str, Any], quality: Quality = "giou", gradient_scale: float = 1.0, **head: Any
    ) -> None:
        super().__init__(**head)
        if not self.use_sigmoid_cls:
            raise ValueError("loss_cls: expected a loss with use_sigmoid=True, a ranking loss has no background class")
        self.ranking_loss: Callable[[Tensor, Tensor, Tensor], Tensor] = functools.partial(ranking_loss, **ranking)
        self.quality: Quality = quality
        self.gradient_scale = gradient_scale

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: Sequence[Any],
        batch_img_metas: Sequence[dict[str, Any]],
        batch_gt_instances_ignore: Sequence[Any] | None = None,
    ) -> dict[str, Tensor]:
        """The ranking loss of a batch.

        Args:
            cls_scores: per level `[B, A * C, H, W]` logits.
            bbox_preds: per level `[B, A * 4, H, W]` deltas.
            batch_gt_instances: per image `bboxes [n, 4]` in pixels and `labels [n]`.
            batch_img_metas: per image mmdet's meta information.
            batch_gt_instances_ignore: per image `bboxes` of crowds; anchors inside them are left out.

        Returns:
            `loss_rank`, a scalar. 0, with a graph to every output, where no anchor is positive.
        """
        featmap_sizes = [scores.shape[-2:] for scores in cls_scores]
        anchors, valid_flags = self.get_anchors(featmap_sizes, batch_img_metas, device=cls_scores[0].device)
        labels, label_weights, bbox_targets, _, _ = self.get_targets(
            anchors, valid_flags, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        return {
            "loss_rank": self._rank(
                _flatten_levels(cls_scores, self.cls_out_channels),
                _flatten_levels(bbox_preds, 4),
                torch.cat(labels, dim=1).flatten(),
                torch.cat(label_weights, dim=1).flatten(),
                torch.cat(bbox_targets, dim=1).flatten(0, 1),
            )
        }

    def _rank(
        self, logits: Tensor, deltas: Tensor, labels: Tensor, label_weights: Tensor, delta_targets: Tensor
    ) -> Tensor:
        """Loss of M anchors: `logits [M, C]`, `deltas [M, 4]`, `labels [M]` (C is background), weights, targets."""
        deltas = scale_gradient(deltas, self.gradient_scale)
        positives = ((labels < self.num_classes) & (label_weights > 0)).nonzero().squeeze(1)
        entries = positives * self.num_classes + labels[positives]
        targets = (label_weights > 0).to(logits.dtype) - 1
        targets = targets[:, None].expand_as(logits).flatten().index_fill(0, entries, 1)
        stds = deltas.new_tensor(self.bbox_coder.stds)
        means = deltas.new_tensor(self.bbox_coder.means)
        qualities = box_quality(
            decode_unit(deltas[positives] * stds + means),
            decode_unit(delta_targets[positives] * stds + means),
            self.quality,
        )
        quality = logits.new_zeros(logits.numel()).index_put((entries,), qualities)
        loss = self.ranking_loss(logits.flatten(), quality, targets)
        # Ties every output into the graph, also those without a positive: parallel training waits for each gradient.
        return loss + 0 * deltas.sum() if len(positives) else 0 * (logits.sum() + deltas.sum())


def _flatten_levels(outputs: Sequence[Tensor], channels: int) -> Tensor:
    """Per level `[B, A * channels, H, W]` to `[B * anchors, channels]`, in the order of the anchors."""
    flat = [output.permute(0, 2, 3, 1).reshape(len(output), -1, channels) for output in outputs]
    return torch.cat(flat, dim=1).flatten(0, 1)
