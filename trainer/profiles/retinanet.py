"""The RetinaNet that the profiles share: everything but size and schedule."""

from collections.abc import Sequence
from dataclasses import dataclass

from paploss.jobs.spec import LossSpec
from paploss.trainer.profiles.backbone import resnet
from paploss.trainer.profiles.losses import retina_losses
from paploss.trainer.profiles.pipelines import NORMALISATION
from paploss.trainer.profiles.recipe import Config, Head

RETINANET_HEADS = (Head("bbox_head", "bbox_head", ("loss_",)),)


@dataclass(frozen=True)
class Size:
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


def retinanet(
    size: Size,
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
            **retina_losses(loss, "bbox_head"),
        },
        "train_cfg": {
            # A positive ignore_iof_thr leaves out the anchors inside crowds; mmdet's default would punish them.
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


def _anchors(strides: Sequence[int]) -> Config:
    return {
        "type": "AnchorGenerator",
        "octave_base_scale": 4,
        "scales_per_octave": 2,
        "ratios": [0.5, 1.0, 2.0],
        "strides": list(strides),
    }
