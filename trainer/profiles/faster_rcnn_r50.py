"""`faster-rcnn-r50`: Faster R-CNN with ResNet-50 and FPN on the published schedules."""

from typing import Final

from paploss.jobs.spec import JobSpec, LossName
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.faster_rcnn import FASTER_RCNN_HEADS, Size, faster_rcnn
from paploss.trainer.profiles.published import published_recipe
from paploss.trainer.profiles.recipe import Rate, Recipe

SIZE = Size(
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
RATES: Final[dict[LossName, Rate]] = {
    "parameterized_ap": Rate(0.024, 64),
    "handmade_ap": Rate(0.024, 64),  # the same formula
    # Published for RetinaNet alone, at 0.002; raised as aLRP's rate is from RetinaNet (0.008) to this detector.
    "ap_l1": Rate(0.003, 32),
    "alrp": Rate(0.012, 32),
    "rank_sort": Rate(0.012, 16),
    "ce_l1": Rate(0.04, 64),
    "ce_giou": Rate(0.04, 64),
    "cse_autoloss_a": Rate(0.04, 64),  # published on mmdet's own schedule; takes the place of CE + GIoU
}
"""Sources: Tao et al. and the configurations released with aLRP and Rank & Sort Loss.

The latter trains for 12 epochs as published; here all rows have the same length.
"""
MILESTONES = (0.75, 0.95)


def faster_rcnn_r50(spec: JobSpec, data: CocoSplit) -> Recipe:
    """The published proxy (1 epoch, constant rate) or final schedule (100 epochs, steps at 75 and 95).

    With pretrained weights the first stage is frozen and batch normalisation keeps its statistics; without them both
    learn, since random features that never change are of no use.
    """
    model = faster_rcnn(SIZE, len(data.classes), spec.loss, frozen_backbone=spec.weights is not None)
    return published_recipe(spec, model, FASTER_RCNN_HEADS, rate=RATES[spec.loss.name], milestones=MILESTONES)
