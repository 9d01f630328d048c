"""The loss in Hugging Face transformers: its Deformable DETR, from a configuration, on drawn squares.

    pip install transformers scipy
    python examples/transformers_detr.py

A model of transformers asks its `loss_function` for the loss. The one here keeps transformers' matching of queries and
objects, and ranks all queries and classes of a batch, each decoder layer by itself. Nothing is downloaded.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, ResNetConfig
from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher

from paploss.losses import ParameterizedAPLoss, identity_control_points

SIDE_PX = 64


def ranking_loss(loss: torch.nn.Module, gradient_scale: float = 1.0) -> Callable[..., tuple[Tensor, dict, None]]:
    """A `loss_function` for transformers' Deformable DETR.

    Args:
        loss: of logits, quality and targets, all `[N]`: a ParameterizedAPLoss, or the module that an export wrote.
        gradient_scale: factor on the gradient that reaches the boxes.
    """

    def loss_function(
        logits: Tensor,
        labels: Sequence[dict[str, Tensor]],
        _device: torch.device,
        _boxes: Tensor,
        config: Any,
        outputs_class: Tensor,
        outputs_coord: Tensor,
        **_: Any,
    ) -> tuple[Tensor, dict[str, Tensor], None]:
        matcher = DeformableDetrHungarianMatcher(
            class_cost=config.class_cost, bbox_cost=config.bbox_cost, giou_cost=config.giou_cost
        )
        total = logits.new_zeros(())
        for of_layer, boxes in zip(outputs_class, outputs_coord, strict=True):
            scaled = gradient_scale * boxes + ((1 - gradient_scale) * boxes).detach()
            targets = torch.zeros_like(of_layer, dtype=torch.int8)
            quality = torch.zeros_like(of_layer)
            matches = matcher({"logits": of_layer, "pred_boxes": boxes}, labels)
            for image, (queries, numbers) in enumerate(matches):
                classes = labels[image]["class_labels"][numbers]
                targets[image, queries, classes] = 1
                fit = (giou(scaled[image, queries], labels[image]["boxes"][numbers]) + 1) / 2
                quality = quality.index_put((torch.full_like(queries, image), queries, classes), fit)
            total = total + loss(of_layer.flatten(), quality.flatten(), targets.flatten())
        return total, {"loss_rank": total.detach()}, None

    return loss_function


def giou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Generalised IoU of pairs of boxes (cx, cy, w, h), `[n, 4]` each."""
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    low_true, high_true = targets[:, :2] - targets[:, 2:] / 2, targets[:, :2] + targets[:, 2:] / 2
    common = (torch.minimum(high, high_true) - torch.maximum(low, low_true)).clamp_min(0).prod(dim=1)
    union = boxes[:, 2:].prod(dim=1) + targets[:, 2:].prod(dim=1) - common
    hull = (torch.maximum(high, high_true) - torch.minimum(low, low_true)).prod(dim=1)
    return common / union.clamp_min(1e-7) - (hull - union) / hull.clamp_min(1e-7)


def small_model() -> DeformableDetrForObjectDetection:
    """A Deformable DETR of two classes with random weights."""
    backbone = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 32, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = DeformableDetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        num_labels=2,
        num_queries=20,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_feature_levels=3,
        auxiliary_loss=True,
        with_box_refine=True,
        dropout=0.0,
    )
    return DeformableDetrForObjectDetection(config)


def scenes(count: int, seed: int) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Images `[count, 3, SIDE_PX, SIDE_PX]` with a red or a green square each, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.1 * torch.randn(count, 3, SIDE_PX, SIDE_PX, generator=generator)
    labels = []
    for image in images:
        side = int(torch.randint(16, 32, (), generator=generator))
        x, y = torch.randint(0, SIDE_PX - side, (2,), generator=generator).tolist()
        kind = int(torch.randint(2, (), generator=generator))
        image[kind, y : y + side, x : x + side] += 1
        box = torch.tensor([[x + side / 2, y + side / 2, side, side]]) / SIDE_PX
        labels.append({"class_labels": torch.tensor([kind]), "boxes": box})
    return images, labels


def train(steps: int) -> list[float]:
    """Losses of the steps."""
    torch.manual_seed(0)
    model = small_model()
    model.loss_function = ranking_loss(ParameterizedAPLoss(identity_control_points(knots=4)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(steps):
        images, labels = scenes(8, step)
        value = model(pixel_values=images, labels=labels).loss
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(value.item())
    return losses


if __name__ == "__main__":
    found = train(100)
    for first in range(0, len(found), 20):
        print(f"steps {first} to {first + 19}: loss {sum(found[first : first + 20]) / 20:.3f}")
