"""RetinaNet, in the sizes of `retinanet-tiny` and `retinanet-r50`."""

from collections.abc import Sequence
from dataclasses import dataclass

from paploss.jobs.losses import CSEAutoLossB, FocalGIoU, FocalL1, LossSpec, RankingLoss
from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.backbone import resnet
from paploss.trainer.profiles.losses import (
    CSE_AUTOLOSS_B,
    FOCAL,
    GIOU,
    IOU_TARGETS,
    L1,
    LOW_SCORE_THRESHOLD,
    RANKING_STDS,
    LossParts,
    box_coder,
    complete,
    ranking_parts,
)
from paploss.trainer.profiles.pipelines import NORMALISATION
from paploss.trainer.profiles.published import published_recipe
from paploss.trainer.profiles.recipe import Config, Head, Recipe
from paploss.trainer.profiles.tiny import tiny_recipe

MILESTONES = (0.6, 0.8)

_PLAIN: Config = {"type": "RetinaHead", "loss_cls": FOCAL, "bbox_coder": box_coder((1.0, 1.0, 1.0, 1.0))}
_IOU_AWARE: Config = {**_PLAIN, "type": "IoUAwareRetinaHead", "loss_bbox": GIOU, "reg_decoded_bbox": True}
_PARTS = complete(
    "retinanet",
    {
        FocalL1: LossParts({**_PLAIN, "loss_bbox": L1, "reg_decoded_bbox": False}),
        FocalGIoU: LossParts({**_PLAIN, "loss_bbox": GIOU, "reg_decoded_bbox": True}),
        **{record: LossParts({**_IOU_AWARE, "loss_cls": module}) for record, module in IOU_TARGETS.items()},
        CSEAutoLossB: LossParts({**_IOU_AWARE, **CSE_AUTOLOSS_B}),
    },
)


@dataclass(frozen=True)
class RetinaNetSize:
    """How large a RetinaNet is."""

    depth: int
    """Of the ResNet."""
    base_channels: int
    """Of the ResNet's first stage, before a bottleneck's expansion by 4."""
    stage_channels: tuple[int, int, int, int]
    """Outputs of the ResNet's stages."""
    neck_channels: int
    stacked_convs: int
    """Convolutions in each branch of the head."""
    strides: tuple[int, ...]
    """Of the pyramid's levels, in pixels."""


TINY = RetinaNetSize(
    depth=18,
    base_channels=16,
    stage_channels=(16, 32, 64, 128),
    neck_channels=32,
    stacked_convs=1,
    strides=(8, 16, 32, 64),
)
R50 = RetinaNetSize(
    depth=50,
    base_channels=64,
    stage_channels=(256, 512, 1024, 2048),
    neck_channels=256,
    stacked_convs=4,
    strides=(8, 16, 32, 64, 128),
)


def retinanet_tiny(spec: JobSpec, data: CocoSplit) -> Recipe:
    """ResNet-18 with 16 base channels from random weights, FPN of 32 channels, one convolution in each branch."""
    model = retinanet(TINY, len(data.classes), spec.loss, frozen_backbone=False, score_threshold=LOW_SCORE_THRESHOLD)
    return tiny_recipe(spec, data, model, heads(spec.loss))


def retinanet_r50(spec: JobSpec, data: CocoSplit) -> Recipe:
    """The published proxy (1 epoch, constant rate) or final schedule (100 epochs, steps at 60 and 80).

    With pretrained weights the first stage is frozen and batch normalisation keeps its statistics; without them both
    learn: random features that never change teach a head nothing.
    """
    model = retinanet(
        R50,
        len(data.classes),
        spec.loss,
        frozen_backbone=spec.weights is not None,
        nms_iou=0.6 if spec.schedule == "final" else 0.5,
    )
    return published_recipe(spec, model, heads(spec.loss), rate=spec.loss.rates["retinanet"], milestones=MILESTONES)


def heads(loss: LossSpec) -> tuple[Head, ...]:
    """The one head."""
    return (Head("bbox_head", "bbox_head", _parts(loss).minimised),)


def retinanet(
    size: RetinaNetSize,
    class_count: int,
    loss: LossSpec,
    frozen_backbone: bool,
    *,
    nms_iou: float = 0.5,
    score_threshold: float = 0.05,
) -> Config:
    """mmdet's configuration of a RetinaNet with 2 scales per octave and 3 ratios of anchors.

    Args:
        size: the detector's size.
        class_count: number of classes.
        loss: decides the head's type, its loss modules and its box coder.
        frozen_backbone: keep the first stage and the batch-normalisation statistics of pretrained weights.
        nms_iou: boxes that overlap a better one by more are dropped in tests.
        score_threshold: boxes that score less are dropped in tests.
    """
    return {
        "type": "RetinaNet",
        "data_preprocessor": {**NORMALISATION, "pad_size_divisor": 32},
        "backbone": resnet(size.depth, size.base_channels, frozen_backbone),
        "neck": {
            "type": "FPN",
            "in_channels": list(size.stage_channels),
            "out_channels": size.neck_channels,
            "start_level": 1,
            "add_extra_convs": "on_input",
            "num_outs": len(size.strides),
        },
        "bbox_head": {
            "num_classes": class_count,
            "in_channels": size.neck_channels,
            "feat_channels": size.neck_channels,
            "stacked_convs": size.stacked_convs,
            "anchor_generator": _anchors(size.strides),
            **_parts(loss).config,
        },
        "train_cfg": {
            # A positive ignore_iof_thr leaves out the background inside crowds; mmdet's default would punish them.
            "assigner": {
                "type": "VectorisedMaxIoUAssigner",
                "pos_iou_thr": 0.5,
                "neg_iou_thr": 0.4,
                "min_pos_iou": 0,
                "ignore_iof_thr": 0.5,
            },
            "sampler": {"type": "PseudoSampler"},
            "allowed_border": -1,
            "pos_weight": -1,
            "debug": False,
        },
        "test_cfg": {
            "nms_pre": 1000,
            "min_bbox_size": 0,
            "score_thr": score_threshold,
            "nms": {"type": "nms", "iou_threshold": nms_iou},
            "max_per_img": 100,
        },
    }


def _parts(loss: LossSpec) -> LossParts:
    if not isinstance(loss, RankingLoss):
        return _PARTS[type(loss)]
    # The head's own loss is unused; that of classes selects sigmoid outputs.
    config = {"type": "RankingRetinaHead", "loss_cls": FOCAL, "bbox_coder": box_coder(RANKING_STDS)}
    return ranking_parts(loss, "bbox_head", config)


def _anchors(strides: Sequence[int]) -> Config:
    return {
        "type": "CachedAnchorGenerator",
        "octave_base_scale": 4,
        "scales_per_octave": 2,
        "ratios": [0.5, 1.0, 2.0],
        "strides": list(strides),
    }
