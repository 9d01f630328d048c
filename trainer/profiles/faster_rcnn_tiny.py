"""`faster-rcnn-tiny`: a Faster R-CNN that learns a few hundred small images in about a minute on two CPU cores."""

from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.faster_rcnn import FASTER_RCNN_HEADS, Size, faster_rcnn
from paploss.trainer.profiles.recipe import Recipe
from paploss.trainer.profiles.tiny import QUICK_RATE, tiny_recipe

SIZE = Size(
    depth=18,
    base_channels=16,
    stage_channels=(16, 32, 64, 128),
    neck_channels=32,
    hidden_channels=128,
    strides=(4, 8, 16, 32),
    anchor_scale=4,
    smallest_roi_px=16,
    training_candidates=200,
    test_candidates=100,
    proposals=100,
)


def faster_rcnn_tiny(spec: JobSpec, data: CocoSplit) -> Recipe:
    """ResNet-18 with 16 base channels from random weights, FPN of 32 channels, 100 proposals per image.

    It learns best in small, quick steps on any data: on blood cells, 4 epochs of published Parameterized AP Loss give
    42 AP with them and 17 with the steps of `retinanet-tiny`.
    """
    model = faster_rcnn(SIZE, len(data.classes), spec.loss, frozen_backbone=False)
    return tiny_recipe(spec, data, model, FASTER_RCNN_HEADS, QUICK_RATE)
