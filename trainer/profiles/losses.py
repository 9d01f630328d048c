"""From a job's loss to the part of a head that depends on it.

Each detector's own file says what becomes of its heads: one configuration for all losses that rank, whose
`RankingObjective` does the rest, and a table of the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from paploss.jobs.losses import LOSSES, IoUBCE, Loss, ParameterizedAP, QFLGIoU, RankingLoss, Varifocal
from paploss.jobs.profiles import Detector
from paploss.trainer.profiles.recipe import Config

LOW_SCORE_THRESHOLD = 0.01
"""Where detections begin, in tests, for profiles whose trainings are short. A ranking loss orders scores and gives them
no level: from a prior of 0.01, good detections then score less than the usual 0.05."""

RANKING_STDS = (0.1, 0.1, 0.2, 0.2)
"""Standard deviations of the box coder for losses on decoded boxes (as published)."""

FOCAL: Config = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}
L1: Config = {"type": "L1Loss", "loss_weight": 1.0}
QFL: Config = {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0}
GIOU: Config = {"type": "GIoULoss", "loss_weight": 2.0}
CSE_AUTOLOSS_B: Config = {
    "loss_cls": {"type": "CSEAutoLossBClassification", "use_sigmoid": True},
    "loss_bbox": {"type": "CSEAutoLossBox", "variant": "b"},
}
"""Keys of a one-stage head."""
IOU_TARGETS: Mapping[type[Loss], Config] = {
    QFLGIoU: QFL,
    Varifocal: {"type": "IoUTargetLoss", "use_sigmoid": True, "formula": "varifocal"},
    IoUBCE: {"type": "IoUTargetLoss", "use_sigmoid": True, "formula": "iou_bce"},
}
"""Losses of classes whose target is the IoU, for heads with sigmoid classes of any kind."""


@dataclass(frozen=True)
class LossParts:
    """What a loss makes of a head."""

    config: Config
    """Keys of the head in mmdet's configuration: type, loss modules, box coder."""
    minimised: tuple[str, ...] = ("loss_cls", "loss_bbox")
    """Names of the head's outputs that training minimises."""


def complete(detector: Detector, parts: Mapping[type[Loss], LossParts]) -> Mapping[type[Loss], LossParts]:
    """`parts`, which must be those of all losses that fit the detector and do not rank.

    Raises:
        TypeError: names the losses that are missing, or do not fit.
    """
    records = {one for one in LOSSES.values() if detector in one.rates and not issubclass(one, RankingLoss)}
    if wrong := records ^ set(parts):
        names = ", ".join(sorted(record.__name__ for record in wrong))
        raise TypeError(f"{detector}: expected parts for each loss that fits and does not rank, not so for {names}")
    return parts


def ranking_parts(loss: RankingLoss, head: str, config: Config) -> LossParts:
    """`config` with a `RankingObjective` of `loss`; `head` is the head's name in the profile."""
    arguments = loss.model_dump(mode="json", exclude={"heads"})
    if isinstance(loss, ParameterizedAP):
        arguments |= loss.heads[head].model_dump(mode="json")
    return LossParts({**config, "ranking": arguments}, loss.parts)


def box_coder(stds: tuple[float, ...]) -> Config:
    """mmdet's coder of boxes as deltas, normalised by `stds` (dx, dy, dw, dh)."""
    return {"type": "DeltaXYWHBBoxCoder", "target_means": (0.0, 0.0, 0.0, 0.0), "target_stds": stds}
