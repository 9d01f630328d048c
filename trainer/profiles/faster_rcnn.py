"""The Faster R-CNN that the profiles share: everything but size and schedule."""

from dataclasses import dataclass

from paploss.jobs.spec import LossSpec
from paploss.trainer.profiles.backbone import resnet
from paploss.trainer.profiles.faster_rcnn_losses import rcnn_losses, rpn_losses, sampler
from paploss.trainer.profiles.pipelines import NORMALISATION
from paploss.trainer.profiles.recipe import Config, Head

FASTER_RCNN_HEADS = (
    Head("rpn_head", "rpn_head", ("loss_rpn_",)),
    Head("bbox_head", "roi_head.bbox_head", ("loss_rank", "loss_sort", "loss_cls", "loss_bbox")),
)
ROI_SIDE = 7
"""Cells on a side of the grid that a proposal's features are sampled on."""


@dataclass(frozen=True)
class Size:
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


def faster_rcnn(size: Size, class_count: int, loss: LossSpec, frozen_backbone: bool) -> Config:
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
                "type": "AnchorGenerator",
                "scales": [size.anchor_scale],
                "ratios": [0.5, 1.0, 2.0],
                "strides": list(size.strides),
            },
            **rpn_losses(loss),
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
                **rcnn_losses(loss),
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
    """mmdet's assigner, which leaves out anchors and proposals inside crowds.

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
