"""`retinanet-r50`: RetinaNet with ResNet-50 and FPN on the published schedules."""

from typing import Final

from paploss.jobs.spec import JobSpec, LossName
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.published import published_recipe
from paploss.trainer.profiles.recipe import Rate, Recipe
from paploss.trainer.profiles.retinanet import RETINANET_HEADS, Size, retinanet

SIZE = Size(
    depth=50,
    base_channels=64,
    stage_channels=(256, 512, 1024, 2048),
    neck_channels=256,
    stacked_convs=4,
    strides=(8, 16, 32, 64, 128),
)
RATES: Final[dict[LossName, Rate]] = {
    "parameterized_ap": Rate(0.016, 64),
    "handmade_ap": Rate(0.016, 64),  # the same formula
    "ap_l1": Rate(0.002, 32),
    "alrp": Rate(0.008, 32),
    "rank_sort": Rate(0.008, 32),  # published for ATSS
    "focal_l1": Rate(0.016, 64),
    "focal_giou": Rate(0.016, 64),
    "cse_autoloss_b": Rate(0.016, 64),  # as Focal + GIoU, whose place it takes; published for ATSS and FCOS
}
"""Sources: Tao et al. and, for AP, aLRP and Rank & Sort Loss, the configurations released with the last two."""
MILESTONES = (0.6, 0.8)


def retinanet_r50(spec: JobSpec, data: CocoSplit) -> Recipe:
    """The published proxy (1 epoch, constant rate) or final schedule (100 epochs, steps at 60 and 80).

    With pretrained weights the first stage is frozen and batch normalisation keeps its statistics; without them both
    learn, since random features that never change are of no use.
    """
    model = retinanet(
        SIZE,
        len(data.classes),
        spec.loss,
        frozen_backbone=spec.weights is not None,
        nms_iou=0.6 if spec.schedule == "final" else 0.5,
    )
    return published_recipe(spec, model, RETINANET_HEADS, rate=RATES[spec.loss.name], milestones=MILESTONES)
