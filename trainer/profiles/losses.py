"""From a job's loss to the part of a one-stage head that depends on it."""

from paploss.jobs.spec import LossSpec
from paploss.trainer.profiles.recipe import Config

LOW_SCORE_THRESHOLD = 0.01
"""Where detections begin, in tests, for profiles whose trainings are short. A ranking loss orders scores and gives them
no level: from a prior of 0.01, good detections then score less than the usual 0.05."""

RANKING_STDS = (0.1, 0.1, 0.2, 0.2)
"""Standard deviations of the box coder for losses on decoded boxes (as published)."""

_FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}
_GIOU = {"type": "GIoULoss", "loss_weight": 2.0}
_CSE_B = {
    "loss_cls": {"type": "CSEAutoLossBClassification", "use_sigmoid": True},
    "loss_bbox": {"type": "CSEAutoLossBox", "variant": "b"},
}


def retina_losses(loss: LossSpec, head: str) -> Config:
    """Keys of mmdet's RetinaHead that follow from the loss: type, loss modules, box coder.

    Args:
        loss: the job's loss.
        head: the head's name in the profile, the key in `loss.heads`.
    """
    if loss.name == "focal_l1":
        return _plain({"type": "L1Loss", "loss_weight": 1.0}, decoded=False)
    if loss.name == "focal_giou":
        return _plain(_GIOU, decoded=True)
    if loss.name == "cse_autoloss_b":
        return {**_plain({}, decoded=True), **_CSE_B, "type": "CSEAutoLossRetinaHead"}
    return {
        "type": "RankingRetinaHead",
        "ranking": ranking(loss, head),
        "loss_cls": _FOCAL,  # unused, selects sigmoid outputs
        "bbox_coder": box_coder(RANKING_STDS),
    }


def atss_losses(loss: LossSpec, head: str) -> Config:
    """Keys of mmdet's ATSSHead that follow from the loss: type and loss modules.

    Args:
        loss: the job's loss.
        head: the head's name in the profile, the key in `loss.heads`.
    """
    if loss.name == "focal_giou":
        return {"type": "ATSSHead", "loss_cls": _FOCAL, "loss_bbox": _GIOU}
    if loss.name == "cse_autoloss_b":
        return {"type": "CSEAutoLossATSSHead", **_CSE_B}
    return {"type": "RankingATSSHead", "ranking": ranking(loss, head)}


def ranking(loss: LossSpec, head: str) -> Config:
    """Arguments of a head's `RankingObjective`, as plain numbers.

    Args:
        loss: a ranking loss.
        head: the head's name in the profile, the key in `loss.heads`.
    """
    if loss.name == "handmade_ap":
        return {"name": loss.name, "form": loss.form, "top_k": loss.top_k}
    if loss.name != "parameterized_ap":
        return {"name": loss.name}
    parameters = loss.heads[head]
    points = [[list(point) for point in row] for row in parameters.control_points]
    return {
        "name": loss.name,
        "control_points": points,
        "quality": parameters.quality,
        "gradient_scale": parameters.gradient_scale,
        "top_k": loss.top_k,
    }


def box_coder(stds: tuple[float, ...]) -> Config:
    """mmdet's coder of boxes as deltas, normalised by `stds` (dx, dy, dw, dh)."""
    return {"type": "DeltaXYWHBBoxCoder", "target_means": (0.0, 0.0, 0.0, 0.0), "target_stds": stds}


def _plain(loss_bbox: Config, decoded: bool) -> Config:
    coder = box_coder((1.0, 1.0, 1.0, 1.0))
    return {
        "type": "RetinaHead",
        "loss_cls": _FOCAL,
        "loss_bbox": loss_bbox,
        "reg_decoded_bbox": decoded,
        "bbox_coder": coder,
    }
