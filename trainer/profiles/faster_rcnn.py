"""Faster R-CNN, in the sizes of `faster-rcnn-tiny` and `faster-rcnn-r50`."""

from dataclasses import dataclass

from paploss.jobs.losses import LossSpec
from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.backbone import resnet
from paploss.trainer.profiles.faster_rcnn_losses import heads, rcnn_parts, rpn_parts, sampler
from paploss.trainer.profiles.pipelines import NORMALISATION
from paploss.trainer.profiles.published import published_recipe
from paploss.trainer.profiles.recipe import Config, Recipe
from paploss.trainer.profiles.tiny import TWO_STAGE_RATE, tiny_recipe

MILESTONES = (0.75, 0.95)
ROI_SIDE = 7
"""Cells on a side of the grid that a proposal's features are sampled on."""


@dataclass(frozen=True)
class FasterRCNNSize:
    """How large a Faster R-CNN is."""

    depth: int
    """Of the ResNet."""
    base_channels: int
    """Of the ResNet's first stage, before a bottleneck's expansion by 4."""
    stage_channels: tuple[int, int, int, int]
    """Outputs of the ResNet's stages."""
    neck_channels: int
    hidden_channels: int
    """Of the two layers in the second stage."""
    strides: tuple[int, ...]
    """Of the pyramid's levels that carry anchors, in pixels; proposals are read from the first four."""
    anchor_scale: int
    """Side of a square anchor, in strides of its level."""
    smallest_roi_px: int
    """Proposals up to twice this side are read from the finest level, up to four times from the next, and so on."""
    training_candidates: int
    """Anchors per level, by score, from which proposals are made in training."""
    test_candidates: int
    """The same in tests."""
    proposals: int
    """Per image, at most."""


TINY = FasterRCNNSize(
    depth=18,
    base_channels=16,
    stage_channels=(16, 32, 64, 128),
    neck_channels=32,
    hidden_channels=128,
    strides=(4, 8, 16, 32),
    anchor_scale=4,
    smallest_roi_px=16,
    training_candidates=200,
    test_candidates=100,
    proposals=100,
)
R50 = FasterRCNNSize(
    depth=50,
    base_channels=64,
    stage_channels=(256, 512, 1024, 2048),
    neck_channels=256,
    hidden_channels=1024,
    strides=(4, 8, 16, 32, 64),
    anchor_scale=8,
    smallest_roi_px=56,
    training_candidates=2000,
    test_candidates=1000,
    proposals=1000,
)


def faster_rcnn_tiny(spec: JobSpec, data: CocoSplit) -> Recipe:
    """ResNet-18 with 16 base channels from random weights, FPN of 32 channels, 100 proposals per image."""
    model = faster_rcnn(TINY, len(data.classes), spec.loss, frozen_backbone=False)
    return tiny_recipe(spec, data, model, heads(spec.loss), TWO_STAGE_RATE)


def faster_rcnn_r50(spec: JobSpec, data: CocoSplit) -> Recipe:
    """The published proxy (1 epoch, constant rate) or final schedule (100 epochs, steps at 75 and 95).

    With pretrained weights the first stage is frozen and batch normalisation keeps its statistics; without them both
    learn: random features that never change teach a head nothing.
    """
    model = faster_rcnn(R50, len(data.classes), spec.loss, frozen_backbone=spec.weights is not None)
    return published_recipe(spec, model, heads(spec.loss), rate=spec.loss.rates["faster-rcnn"], milestones=MILESTONES)


def faster_rcnn(size: FasterRCNNSize, class_count: int, loss: LossSpec, frozen_backbone: bool) -> Config:
    """mmdet's configuration of a Faster R-CNN with anchors of one scale and 3 ratios on each level.

    Args:
        size: the detector's size.
        class_count: number of classes.
        loss: decides the heads' types, their loss modules and box coders, and whether their examples are sampled.
        frozen_backbone: keep the first stage and the batch-normalisation statistics of pretrained weights.
    """
    return {
        "type": "FasterRCNN",
        "data_preprocessor": {**NORMALISATION, "pad_size_divisor": 32},
        "backbone": resnet(size.depth, size.base_channels, frozen_backbone),
        "neck": {
            "type": "FPN",
            "in_channels": list(size.stage_channels),
            "out_channels": size.neck_channels,
            "num_outs": len(size.strides),
        },
        "rpn_head": {
            "in_channels": size.neck_channels,
            "feat_channels": size.neck_channels,
            "anchor_generator": {
                "type": "CachedAnchorGenerator",
                "scales": [size.anchor_scale],
                "ratios": [0.5, 1.0, 2.0],
                "strides": list(size.strides),
            },
            **rpn_parts(loss).config,
        },
        "roi_head": {
            "type": "StandardRoIHead",
            "bbox_roi_extractor": {
                "type": "SingleRoIExtractor",
                "roi_layer": {"type": "RoIAlign", "output_size": ROI_SIDE, "sampling_ratio": 0},
                "out_channels": size.neck_channels,
                "featmap_strides": list(size.strides[:4]),
                "finest_scale": size.smallest_roi_px,
            },
            "bbox_head": {
                "in_channels": size.neck_channels,
                "fc_out_channels": size.hidden_channels,
                "roi_feat_size": ROI_SIDE,
                "num_classes": class_count,
                "reg_class_agnostic": False,
                **rcnn_parts(loss).config,
            },
        },
        "train_cfg": {
            "rpn": {
                "assigner": _assigner(positive_iou=0.7, negative_iou=0.3, lowest_positive_iou=0.3),
                "sampler": sampler(loss, "rpn_head"),
                "allowed_border": -1,
                "pos_weight": -1,
                "debug": False,
            },
            "rpn_proposal": _proposals(size.training_candidates, size.proposals),
            "rcnn": {
                "assigner": _assigner(positive_iou=0.5, negative_iou=0.5, lowest_positive_iou=0.5),
                "sampler": sampler(loss, "bbox_head"),
                "pos_weight": -1,
                "debug": False,
            },
        },
        "test_cfg": {
            "rpn": _proposals(size.test_candidates, size.proposals),
            "rcnn": {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
        },
    }


def _assigner(positive_iou: float, negative_iou: float, lowest_positive_iou: float) -> Config:
    """mmdet's assigner, which leaves out the background inside crowds.

    An object that no candidate overlaps by `positive_iou` takes the best it has, from `lowest_positive_iou`.
    """
    return {
        "type": "VectorisedMaxIoUAssigner",
        "pos_iou_thr": positive_iou,
        "neg_iou_thr": negative_iou,
        "min_pos_iou": lowest_positive_iou,
        "match_low_quality": lowest_positive_iou < positive_iou,
        "ignore_iof_thr": 0.5,
    }


def _proposals(candidates: int, proposals: int) -> Config:
    return {
        "nms_pre": candidates,
        "max_per_img": proposals,
        "nms": {"type": "nms", "iou_threshold": 0.7},
        "min_bbox_size": 0,
    }
