"""`atss-r50`: ATSS with ResNet-50 and FPN, on the schedules of `retinanet-r50`."""

from typing import Final

from paploss.jobs.spec import JobSpec, LossName
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.atss import ATSS_HEADS, atss
from paploss.trainer.profiles.published import published_recipe
from paploss.trainer.profiles.recipe import Rate, Recipe
from paploss.trainer.profiles.retinanet_r50 import SIZE

RATES: Final[dict[LossName, Rate]] = {
    "parameterized_ap": Rate(0.016, 64),  # this and the next two are those of RetinaNet: there are none for ATSS
    "handmade_ap": Rate(0.016, 64),
    "ap_l1": Rate(0.002, 32),
    "alrp": Rate(0.008, 32),
    "rank_sort": Rate(0.008, 32),
    "focal_giou": Rate(0.01, 16),
    "cse_autoloss_b": Rate(0.01, 16),
}
"""Sources: the configurations released with aLRP Loss, Rank & Sort Loss and CSE-AutoLoss; mmdet's own for Focal."""
MILESTONES = (0.75, 0.95)
"""As released with aLRP Loss."""


def atss_r50(spec: JobSpec, data: CocoSplit) -> Recipe:
    """The proxy (1 epoch, constant rate) or final schedule (100 epochs, steps at 75 and 95) of the other detectors.

    With pretrained weights the first stage is frozen and batch normalisation keeps its statistics; without them both
    learn.
    """
    frozen = spec.weights is not None
    model = atss(SIZE, len(data.classes), spec.loss, frozen_backbone=frozen, normalised_groups=32)
    return published_recipe(spec, model, ATSS_HEADS, rate=RATES[spec.loss.name], milestones=MILESTONES)
