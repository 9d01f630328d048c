"""In Hugging Face transformers a model asks its `loss_function`; this one is for its detectors with queries:

    model = DeformableDetrForObjectDetection(config)
    model.loss_function = ranking_loss()

Deformable DETR, RT-DETR (1 and 2) and D-FINE are tested. Matching of queries and objects stays that of the library; the
queries of each layer of outputs, the encoder's proposals too, rank by themselves. Queries of the denoising part, and
D-FINE's distributions of corners, have no loss: set `num_denoising=0` in the configuration to save their time.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, full_like, zeros
from transformers.image_transforms import center_to_corners_format
from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher
from transformers.loss.loss_rt_detr import RTDetrHungarianMatcher

from paploss.losses.standalone import HeadLoss

L1_WEIGHT = 5.0
"""Boxes are handed over in fifths of the image's sides, so that an L1 distance has DETR's weight."""

LossFunction = Callable[..., tuple[Tensor, dict[str, Tensor], None]]


def ranking_loss(head: str = "bbox_head") -> LossFunction:
    """A `loss_function`; `head`: whose parameters."""
    loss = HeadLoss(head)

    def loss_function(  # noqa: PLR0917 - transformers' signature
        logits: Tensor,
        labels: Sequence[dict[str, Tensor]],
        _device: Any,
        boxes: Tensor,
        config: Any,
        outputs_class: Tensor | None = None,
        outputs_coord: Tensor | None = None,
        **further: Any,
    ) -> tuple[Tensor, dict[str, Tensor], None]:
        matcher = _matcher(config)
        losses = []
        for layer_logits, layer_boxes in _layers(logits, boxes, outputs_class, outputs_coord, further):
            targets = [one["boxes"] for one in labels]
            box_targets = zeros(layer_boxes.shape, device=boxes.device, dtype=targets[0].dtype)
            classes = full_like(layer_logits[..., 0], layer_logits.shape[-1]).long()
            outputs = {"logits": layer_logits, "pred_boxes": layer_boxes}
            for image, (queries, numbers) in enumerate(matcher(outputs, labels)):
                classes[image, queries] = labels[image]["class_labels"][numbers]
                box_targets[image, queries] = targets[image][numbers]
            flat = [one.flatten(0, 1) for one in (layer_boxes, box_targets)]
            losses.append(
                loss(
                    layer_logits.flatten(0, 1),
                    classes.flatten(),
                    *(L1_WEIGHT * one for one in flat),
                    center_to_corners_format,
                )
            )
        total: Tensor = sum(losses[1:], start=losses[0])
        return total, {f"loss_rank_{number}": one.detach() for number, one in enumerate(losses)}, None

    return loss_function


def _matcher(config: Any) -> Any:
    if hasattr(config, "matcher_class_cost"):
        return RTDetrHungarianMatcher(config)
    costs = {"class_cost": config.class_cost, "bbox_cost": config.bbox_cost, "giou_cost": config.giou_cost}
    return DeformableDetrHungarianMatcher(**costs)


def _layers(
    logits: Tensor, boxes: Tensor, outputs_class: Tensor | None, outputs_coord: Tensor | None, further: dict[str, Any]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits `[B, Q, C]` and boxes `[B, Q, 4]` of each layer, without denoising queries."""
    proposed, proposed_boxes = further.get("enc_topk_logits"), further.get("enc_topk_bboxes")
    if outputs_class is None or outputs_coord is None:
        layers = [(logits, boxes)]
    else:
        if proposed is not None:  # RT-DETR and what follows it have the layers behind the images
            outputs_class, outputs_coord = outputs_class.transpose(0, 1), outputs_coord.transpose(0, 1)
        layers = list(zip(outputs_class, outputs_coord, strict=True))
    denoising = further.get("denoising_meta_values")
    skipped = 0 if denoising is None else denoising["dn_num_split"][0]
    yield from ((one[:, skipped:], other[:, skipped:]) for one, other in layers)
    if proposed is not None and proposed_boxes is not None:
        yield proposed, proposed_boxes
