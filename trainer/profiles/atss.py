"""The ATSS that the profiles share: everything but size and schedule."""

from paploss.jobs.spec import LossSpec
from paploss.trainer.profiles.backbone import resnet
from paploss.trainer.profiles.losses import LOW_SCORE_THRESHOLD, RANKING_STDS, atss_losses, box_coder
from paploss.trainer.profiles.pipelines import NORMALISATION
from paploss.trainer.profiles.recipe import Config, Head
from paploss.trainer.profiles.retinanet import Size

ATSS_HEADS = (Head("bbox_head", "bbox_head", ("loss_",)),)


def atss(size: Size, class_count: int, loss: LossSpec, frozen_backbone: bool, normalised_groups: int) -> Config:
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
                "type": "AnchorGenerator",
                "octave_base_scale": 8,
                "scales_per_octave": 1,
                "ratios": [1.0],
                "strides": list(size.strides),
            },
            "bbox_coder": box_coder(RANKING_STDS),
            **atss_losses(loss, "bbox_head"),
        },
        "train_cfg": {
            # A positive ignore_iof_thr leaves out the anchors inside crowds; mmdet's default would punish them.
            "assigner": {"type": "ATSSAssigner", "topk": 9, "ignore_iof_thr": 0.5},
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
