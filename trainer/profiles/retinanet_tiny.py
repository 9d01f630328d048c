"""`retinanet-tiny`: a RetinaNet that learns a few hundred small images in a minute on two CPU cores."""

from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.losses import LOW_SCORE_THRESHOLD
from paploss.trainer.profiles.recipe import Recipe
from paploss.trainer.profiles.retinanet import RETINANET_HEADS, Size, retinanet
from paploss.trainer.profiles.tiny import tiny_recipe

SIZE = Size(
    depth=18,
    base_channels=16,
    stage_channels=(16, 32, 64, 128),
    neck_channels=32,
    stacked_convs=1,
    strides=(8, 16, 32, 64),
)


def retinanet_tiny(spec: JobSpec, data: CocoSplit) -> Recipe:
    """ResNet-18 with 16 base channels from random weights, FPN of 32 channels, one convolution in each branch."""
    model = retinanet(SIZE, len(data.classes), spec.loss, frozen_backbone=False, score_threshold=LOW_SCORE_THRESHOLD)
    return tiny_recipe(spec, data, model, RETINANET_HEADS)
