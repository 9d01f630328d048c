"""`atss-tiny`: an ATSS detector of the size of `retinanet-tiny`."""

from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.atss import ATSS_HEADS, atss
from paploss.trainer.profiles.recipe import Recipe
from paploss.trainer.profiles.retinanet_tiny import SIZE
from paploss.trainer.profiles.tiny import tiny_recipe


def atss_tiny(spec: JobSpec, data: CocoSplit) -> Recipe:
    """ResNet-18 with 16 base channels from random weights, FPN of 32 channels, one convolution in each branch."""
    model = atss(SIZE, len(data.classes), spec.loss, frozen_backbone=False, normalised_groups=8)
    return tiny_recipe(spec, data, model, ATSS_HEADS)
