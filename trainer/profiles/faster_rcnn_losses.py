"""From a job's loss to the parts of a Faster R-CNN that depend on it.

A loss that ranks takes every anchor and every proposal. The others are mmdet's own and draw examples as it does.
"""

from typing import Literal

from paploss.jobs.spec import LossSpec
from paploss.trainer.profiles.losses import RANKING_STDS, box_coder, ranking
from paploss.trainer.profiles.recipe import Config

FasterRCNNHead = Literal["rpn_head", "bbox_head"]

_L1 = {"type": "L1Loss", "loss_weight": 1.0}
_GIOU = {"type": "GIoULoss", "loss_weight": 10.0}
_SAMPLERS: dict[FasterRCNNHead, Config] = {
    "rpn_head": {"num": 256, "pos_fraction": 0.5, "add_gt_as_proposals": False},
    "bbox_head": {"num": 512, "pos_fraction": 0.25, "add_gt_as_proposals": True},
}
_RPN_RANKING = {"alrp": {"positive_iou": 0.7, "weight": 0.2}, "rank_sort": {"weight": 0.2}}
"""What the published losses do otherwise in an RPN."""


def is_ranking(loss: LossSpec) -> bool:
    """Whether the loss ranks all anchors and proposals, with one sigmoid output per class."""
    return loss.name not in ("ce_l1", "ce_giou", "cse_autoloss_a")


def rpn_losses(loss: LossSpec) -> Config:
    """Keys of the RPN head that follow from the loss: type, loss modules, box coder."""
    if is_ranking(loss):
        return {
            "type": "RankingRPNHead",
            "ranking": {**ranking(loss, "rpn_head"), **_RPN_RANKING.get(loss.name, {})},
            "bbox_coder": box_coder(RANKING_STDS),
        }
    return {
        "type": "RPNHead",
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
        "loss_bbox": _L1,
        "bbox_coder": box_coder((1.0, 1.0, 1.0, 1.0)),
    }


def rcnn_losses(loss: LossSpec) -> Config:
    """Keys of the second stage's head that follow from the loss: type, loss modules, box coder."""
    coder = box_coder(RANKING_STDS)
    if is_ranking(loss):
        return {"type": "RankingBBoxHead", "ranking": ranking(loss, "bbox_head"), "bbox_coder": coder}
    if loss.name == "cse_autoloss_a":
        box = {"type": "CSEAutoLossBox", "variant": "a", "loss_weight": 10.0}
        return {"type": "CSEAutoLossBBoxHead", "loss_bbox": box, "bbox_coder": coder}
    return {
        "type": "Shared2FCBBoxHead",
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
        "loss_bbox": _GIOU if loss.name == "ce_giou" else _L1,
        "reg_decoded_bbox": loss.name == "ce_giou",
        "bbox_coder": coder,
    }


def sampler(loss: LossSpec, head: FasterRCNNHead) -> Config:
    """The choice of examples in a head: all of them, or mmdet's random part, drawn from torch's generator."""
    if is_ranking(loss):
        return {"type": "PseudoSampler"}
    return {"type": "RandomSampler", "neg_pos_ub": -1, **_SAMPLERS[head]}
