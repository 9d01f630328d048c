"""`retinanet-r50`: RetinaNet with ResNet-50 and FPN on the published schedules."""

from jobs.spec import JobSpec
from trainer.datasets.coco import CocoSplit
from trainer.profiles.published import Rate, published_recipe
from trainer.profiles.recipe import Recipe
from trainer.profiles.retinanet import RETINANET_HEADS, Size, retinanet

SIZE = Size(
    depth=50,
    base_channels=64,
    stage_channels=(256, 512, 1024, 2048),
    neck_channels=256,
    stacked_convs=4,
    strides=(8, 16, 32, 64, 128),
)
RATE = Rate(peak=0.016, batch_size=64)
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
    return published_recipe(spec, model, RETINANET_HEADS, rate=RATE, milestones=MILESTONES)
