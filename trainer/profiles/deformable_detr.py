"""Deformable DETR, in the sizes of `deformable-detr-tiny` and `deformable-detr-r50`.

Source: Zhu et al., "Deformable DETR: Deformable Transformers for End-to-End Object Detection", ICLR 2021, and mmdet's
configurations of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from paploss.jobs.losses import MAL, FocalL1GIoU, Loss, LossSpec, PositionSupervised, RankingLoss, Rate
from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.backbone import resnet
from paploss.trainer.profiles.losses import FOCAL, GIOU, IOU_TARGETS, LossParts, complete, ranking_parts
from paploss.trainer.profiles.pipelines import NORMALISATION, load_images, resize_crop_flip_and_pack, test_images
from paploss.trainer.profiles.recipe import Config, Head, Recipe, Schedule
from paploss.trainer.profiles.tiny import tiny_recipe

EPOCHS = {"proxy": 1, "final": 50}
MILESTONES = (0.8,)
TRAIN_SIDES_PX = range(480, 801, 32)
"""Short sides that an image is enlarged to at random, as published; another image size scales them."""
LONG_SIDE_PX = 1333
STAGES = (0, 1, 2, 3)
"""Of a ResNet."""
TINY_RATE = Rate(2e-3, 2)
"""Of rates from 1e-3 and batches of 4 and 2 (`benchmarks/detr.py`): twice the steps gain more than another rate."""
SLOW_PARTS = ("backbone", "sampling_offsets", "reference_points")

_DETR: Config = {
    "type": "DeformableDETRHead",
    "loss_cls": {**FOCAL, "loss_weight": 2.0},
    "loss_bbox": {"type": "L1Loss", "loss_weight": 5.0},
    "loss_iou": GIOU,
}
_LAYER_PARTS = ("loss_cls", "loss_bbox", "loss_iou")
_IOU_TARGETS: Mapping[type[Loss], Config] = {
    **IOU_TARGETS,
    MAL: {"type": "IoUTargetLoss", "use_sigmoid": True, "formula": "mal"},
    PositionSupervised: {
        "type": "IoUTargetLoss",
        "use_sigmoid": True,
        "formula": "position_supervised",
        "loss_weight": 6.0,
    },
}
_PARTS = complete(
    "deformable-detr",
    {
        FocalL1GIoU: LossParts(_DETR, _LAYER_PARTS),
        **{record: LossParts({**_DETR, "loss_cls": module}, _LAYER_PARTS) for record, module in _IOU_TARGETS.items()},
    },
)


@dataclass(frozen=True)
class DeformableDETRSize:
    """How large a Deformable DETR is."""

    depth: int
    """Of the ResNet."""
    base_channels: int
    """Of the ResNet's first stage, before a bottleneck's expansion by 4."""
    stage_channels: tuple[int, ...]
    """Outputs of the ResNet's last stages, which the transformer sees."""
    channels: int
    """Of the transformer."""
    attention_heads: int
    hidden_channels: int
    """Of the layers between attentions."""
    levels: int
    """Of features: those of the stages, and further ones at twice the stride each."""
    points: int
    """Places in each level that a head of attention looks at."""
    encoder_layers: int
    decoder_layers: int
    queries: int
    refines_boxes: bool
    """Whether each decoder layer moves the boxes of the one before, and looks there."""
    dropout: float
    normalised_groups: int
    """Groups of channels that the neck normalises together."""


TINY = DeformableDETRSize(
    depth=18,
    base_channels=16,
    stage_channels=(64, 128),
    channels=64,
    attention_heads=4,
    hidden_channels=128,
    levels=3,
    points=4,
    encoder_layers=1,
    decoder_layers=2,
    queries=60,
    refines_boxes=True,
    dropout=0.0,
    normalised_groups=8,
)
R50 = DeformableDETRSize(
    depth=50,
    base_channels=64,
    stage_channels=(512, 1024, 2048),
    channels=256,
    attention_heads=8,
    hidden_channels=1024,
    levels=4,
    points=4,
    encoder_layers=6,
    decoder_layers=6,
    queries=300,
    refines_boxes=False,
    dropout=0.1,
    normalised_groups=32,
)


def deformable_detr_tiny(spec: JobSpec, data: CocoSplit) -> Recipe:
    """ResNet-18 with 16 base channels from random weights, 64 channels, 1 encoder and 2 decoder layers, 60 queries.

    In 4 epochs of blood cells its own loss comes to 20.5 AP (one seed; 9.8 with batches of 4, 15.4 at half the rate):
    a DETR from random weights learns slowly, and wants steps. The embedded scenes want more epochs too: 4 give the
    identity 1.0.
    """
    model = deformable_detr(TINY, len(data.classes), spec.loss, frozen_backbone=False)
    return tiny_recipe(spec, data, model, heads(TINY, spec.loss), TINY_RATE)


def deformable_detr_r50(spec: JobSpec, data: CocoSplit) -> Recipe:
    """The published schedule (50 epochs, a step at 40, images of 480 to 800 px), or one epoch of it at constant rate.

    With pretrained weights the first stage is frozen and batch normalisation learns nothing; without them both learn.
    """
    frozen = spec.weights is not None
    model = deformable_detr(R50, len(data.classes), spec.loss, frozen_backbone=frozen)
    rate = spec.loss.rates["deformable-detr"]
    batch_size = spec.overrides.batch_size or rate.batch_size
    scale = (spec.overrides.image_size_px or TRAIN_SIDES_PX[-1]) / TRAIN_SIDES_PX[-1]
    final = spec.schedule == "final"
    schedule = Schedule(
        epochs=spec.overrides.epochs or EPOCHS[spec.schedule],
        batch_size=batch_size,
        learning_rate=spec.overrides.learning_rate or rate.peak * batch_size / rate.batch_size,
        optimizer="adamw",
        weight_decay=1e-4,
        warmup_iterations=0,
        warmup_factor=1.0,
        decay="steps" if final else "constant",
        milestones=MILESTONES,
        clip_norm=0.1,
        slow_parts=SLOW_PARTS,
    )
    long_side, short_side = round(LONG_SIDE_PX * scale), round(TRAIN_SIDES_PX[-1] * scale)
    return Recipe(
        model=model,
        heads=heads(R50, spec.loss),
        load_pipeline=load_images(),
        augment_pipeline=resize_crop_flip_and_pack(tuple(round(side * scale) for side in TRAIN_SIDES_PX), long_side),
        test_pipeline=test_images({"type": "Resize", "scale": (long_side, short_side), "keep_ratio": True}),
        schedule=schedule,
    )


def heads(size: DeformableDETRSize, loss: LossSpec) -> tuple[Head, ...]:
    """The one head, with the losses of all its layers."""
    earlier = [f"d{layer}." for layer in range(size.decoder_layers - 1)]
    prefixes = ("", *earlier)
    losses = tuple(f"{prefix}{name}" for prefix in prefixes for name in _parts(loss, size).minimised)
    return (Head("bbox_head", "bbox_head", losses),)


def deformable_detr(size: DeformableDETRSize, class_count: int, loss: LossSpec, frozen_backbone: bool) -> Config:
    """mmdet's configuration of a Deformable DETR.

    Args:
        size: the detector's size.
        class_count: number of classes.
        loss: decides the head's type and its loss modules.
        frozen_backbone: keep the first stage and the batch normalisation of pretrained weights.
    """
    deformable: Config = {
        "embed_dims": size.channels,
        "num_heads": size.attention_heads,
        "num_levels": size.levels,
        "num_points": size.points,
        "dropout": size.dropout,
        "batch_first": True,
    }
    between: Config = {
        "embed_dims": size.channels,
        "feedforward_channels": size.hidden_channels,
        "ffn_drop": size.dropout,
    }
    return {
        "type": "DeformableDETR",
        "num_queries": size.queries,
        "num_feature_levels": size.levels,
        "with_box_refine": size.refines_boxes,
        "data_preprocessor": {**NORMALISATION, "pad_size_divisor": 1},
        "backbone": {
            **resnet(size.depth, size.base_channels, frozen_backbone),
            "out_indices": STAGES[-len(size.stage_channels) :],
            "norm_cfg": {"type": "BN", "requires_grad": not frozen_backbone},
        },
        "neck": {
            "type": "ChannelMapper",
            "in_channels": list(size.stage_channels),
            "kernel_size": 1,
            "out_channels": size.channels,
            "act_cfg": None,
            "norm_cfg": {"type": "GN", "num_groups": size.normalised_groups},
            "num_outs": size.levels,
        },
        "encoder": {
            "num_layers": size.encoder_layers,
            "layer_cfg": {"self_attn_cfg": deformable, "ffn_cfg": between},
        },
        "decoder": {
            "num_layers": size.decoder_layers,
            "return_intermediate": True,
            "layer_cfg": {
                "self_attn_cfg": {
                    "embed_dims": size.channels,
                    "num_heads": size.attention_heads,
                    "attn_drop": size.dropout,
                    "dropout_layer": {"type": "Dropout", "drop_prob": size.dropout},
                    "batch_first": True,
                },
                "cross_attn_cfg": deformable,
                "ffn_cfg": between,
            },
            "post_norm_cfg": None,
        },
        "positional_encoding": {"num_feats": size.channels // 2, "normalize": True, "offset": -0.5},
        "bbox_head": {
            "num_classes": class_count,
            "embed_dims": size.channels,
            "sync_cls_avg_factor": True,
            **_parts(loss, size).config,
        },
        "train_cfg": {
            "assigner": {
                "type": "FiniteHungarianAssigner",
                "match_costs": [
                    {"type": "FocalLossCost", "weight": 2.0},
                    {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
                    {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
                ],
            }
        },
        "test_cfg": {"max_per_img": min(100, size.queries * class_count)},
    }


def _parts(loss: LossSpec, size: DeformableDETRSize) -> LossParts:
    if isinstance(loss, RankingLoss):
        # The head's own losses are unused; that of classes selects sigmoid outputs.
        config = {"type": "RankingDeformableDETRHead", "loss_cls": _DETR["loss_cls"]}
        return ranking_parts(loss, "bbox_head", config)
    parts = _PARTS[type(loss)]
    module = parts.config["loss_cls"]
    if module["type"] != "IoUTargetLoss":
        return parts
    return replace(parts, config={**parts.config, "loss_cls": {**module, "image_candidates": size.queries}})
