"""From a job's loss to the parts of a Faster R-CNN that depend on it.

A loss that ranks takes every anchor and every proposal. The others are mmdet's own and draw examples as it does.
"""

from dataclasses import replace
from typing import Any, Final, Literal

from paploss.jobs.losses import ALRP, CEL1, CEGIoU, CSEAutoLossA, Loss, LossSpec, RankingLoss, RankSort
from paploss.trainer.profiles.losses import L1, RANKING_STDS, LossParts, box_coder, complete, ranking_parts
from paploss.trainer.profiles.recipe import Config, Head

FasterRCNNHead = Literal["rpn_head", "bbox_head"]

_SAMPLERS: Final[dict[FasterRCNNHead, Config]] = {
    "rpn_head": {"num": 256, "pos_fraction": 0.5, "add_gt_as_proposals": False},
    "bbox_head": {"num": 512, "pos_fraction": 0.25, "add_gt_as_proposals": True},
}
_RPN_RANKING: Final[dict[type[Loss], dict[str, Any]]] = {
    ALRP: {"positive_iou": 0.7, "weight": 0.2},
    RankSort: {"weight": 0.2},
}
"""What the published losses do otherwise in an RPN."""
_RPN_PLAIN = LossParts(
    {
        "type": "RPNHead",
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
        "loss_bbox": L1,
        "bbox_coder": box_coder((1.0, 1.0, 1.0, 1.0)),
    }
)
_CODER = box_coder(RANKING_STDS)
_RCNN_PLAIN: Config = {
    "type": "Shared2FCBBoxHead",
    "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
    "bbox_coder": _CODER,
}
_RCNN_PARTS = complete(
    "faster-rcnn",
    {
        CEL1: LossParts({**_RCNN_PLAIN, "loss_bbox": L1, "reg_decoded_bbox": False}),
        CEGIoU: LossParts(
            {**_RCNN_PLAIN, "loss_bbox": {"type": "GIoULoss", "loss_weight": 10.0}, "reg_decoded_bbox": True}
        ),
        CSEAutoLossA: LossParts(
            {
                "type": "CSEAutoLossBBoxHead",
                "loss_bbox": {"type": "CSEAutoLossBox", "variant": "a", "loss_weight": 10.0},
                "bbox_coder": _CODER,
            }
        ),
    },
)


def heads(loss: LossSpec) -> tuple[Head, ...]:
    """Both heads, of which mmdet and `RankingRPNHead` name the first one's losses `loss_rpn_*`."""
    rpn = tuple(name.replace("loss_", "loss_rpn_") for name in rpn_parts(loss).minimised)
    return Head("rpn_head", "rpn_head", rpn), Head("bbox_head", "roi_head.bbox_head", rcnn_parts(loss).minimised)


def rpn_parts(loss: LossSpec) -> LossParts:
    """The RPN's head."""
    if not isinstance(loss, RankingLoss):
        return _RPN_PLAIN
    parts = ranking_parts(loss, "rpn_head", {"type": "RankingRPNHead", "bbox_coder": _CODER})
    ranking = {**parts.config["ranking"], **_RPN_RANKING.get(type(loss), {})}
    return replace(parts, config={**parts.config, "ranking": ranking})


def rcnn_parts(loss: LossSpec) -> LossParts:
    """The second stage's head."""
    if not isinstance(loss, RankingLoss):
        return _RCNN_PARTS[type(loss)]
    return ranking_parts(loss, "bbox_head", {"type": "RankingBBoxHead", "bbox_coder": _CODER})


def sampler(loss: LossSpec, head: FasterRCNNHead) -> Config:
    """The choice of examples in a head: all of them, or mmdet's random part, drawn from torch's generator."""
    if isinstance(loss, RankingLoss):
        return {"type": "PseudoSampler"}
    return {"type": "RandomSampler", "neg_pos_ub": -1, **_SAMPLERS[head]}
