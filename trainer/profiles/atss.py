"""ATSS, in the sizes of `atss-tiny` and `atss-r50`."""

from paploss.jobs.losses import CSEAutoLossB, FocalGIoU, LossSpec, RankingLoss
from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.backbone import resnet
from paploss.trainer.profiles.losses import (
    CSE_AUTOLOSS_B,
    FOCAL,
    GIOU,
    IOU_TARGETS,
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
from paploss.trainer.profiles.retinanet import R50, TINY, RetinaNetSize
from paploss.trainer.profiles.tiny import tiny_recipe

MILESTONES = (0.75, 0.95)
"""As released with aLRP Loss."""

_WITH_CENTERNESS = ("loss_cls", "loss_bbox", "loss_centerness")
_PARTS = complete(
    "atss",
    {
        FocalGIoU: LossParts({"type": "ATSSHead", "loss_cls": FOCAL, "loss_bbox": GIOU}, _WITH_CENTERNESS),
        **{
            record: LossParts({"type": "JointATSSHead", "loss_cls": module, "loss_bbox": GIOU})
            for record, module in IOU_TARGETS.items()
        },
        CSEAutoLossB: LossParts({"type": "IoUAwareATSSHead", **CSE_AUTOLOSS_B}, _WITH_CENTERNESS),
    },
)


def atss_tiny(spec: JobSpec, data: CocoSplit) -> Recipe:
    """ResNet-18 with 16 base channels from random weights, FPN of 32 channels, one convolution in each branch."""
    model = atss(TINY, len(data.classes), spec.loss, frozen_backbone=False, normalised_groups=8)
    return tiny_recipe(spec, data, model, heads(spec.loss))


def atss_r50(spec: JobSpec, data: CocoSplit) -> Recipe:
    """The proxy (1 epoch, constant rate) or final schedule (100 epochs, steps at 75 and 95) of the other detectors.

    With pretrained weights the first stage is frozen and batch normalisation keeps its statistics; without them both
    learn.
    """
    frozen = spec.weights is not None
    model = atss(R50, len(data.classes), spec.loss, frozen_backbone=frozen, normalised_groups=32)
    return published_recipe(spec, model, heads(spec.loss), rate=spec.loss.rates["atss"], milestones=MILESTONES)


def heads(loss: LossSpec) -> tuple[Head, ...]:
    """The one head."""
    return (Head("bbox_head", "bbox_head", _parts(loss).minimised),)


def atss(
    size: RetinaNetSize, class_count: int, loss: LossSpec, frozen_backbone: bool, normalised_groups: int
) -> Config:
    """mmdet's configuration of an ATSS detector: one square anchor at each place, 8 strides wide.

    Args:
        size: the detector's size.
        class_count: number of classes.
        loss: decides the head's type and its loss modules.
        frozen_backbone: keep the first stage and the batch-normalisation statistics of pretrained weights.
        normalised_groups: groups of channels that the head's layers normalise together.
    """
    return {
        "type": "ATSS",
        "data_preprocessor": {**NORMALISATION, "pad_size_divisor": 32},
        "backbone": resnet(size.depth, size.base_channels, frozen_backbone),
        "neck": {
            "type": "FPN",
            "in_channels": list(size.stage_channels),
            "out_channels": size.neck_channels,
            "start_level": 1,
            "add_extra_convs": "on_output",
            "num_outs": len(size.strides),
        },
        "bbox_head": {
            "num_classes": class_count,
            "in_channels": size.neck_channels,
            "feat_channels": size.neck_channels,
            "stacked_convs": size.stacked_convs,
            "norm_cfg": {"type": "GN", "num_groups": normalised_groups, "requires_grad": True},
            "anchor_generator": {
                "type": "CachedAnchorGenerator",
                "octave_base_scale": 8,
                "scales_per_octave": 1,
                "ratios": [1.0],
                "strides": list(size.strides),
            },
            "bbox_coder": box_coder(RANKING_STDS),
            **_parts(loss).config,
        },
        "train_cfg": {
            # A positive ignore_iof_thr leaves out the background inside crowds; mmdet's default would punish them.
            "assigner": {"type": "CrowdATSSAssigner", "topk": 9, "ignore_iof_thr": 0.5},
            "allowed_border": -1,
            "pos_weight": -1,
            "debug": False,
        },
        "test_cfg": {
            "nms_pre": 1000,
            "min_bbox_size": 0,
            "score_thr": LOW_SCORE_THRESHOLD,
            "nms": {"type": "nms", "iou_threshold": 0.6},
            "max_per_img": 100,
        },
    }


def _parts(loss: LossSpec) -> LossParts:
    if not isinstance(loss, RankingLoss):
        return _PARTS[type(loss)]
    return ranking_parts(loss, "bbox_head", {"type": "RankingATSSHead"})
