"""Building detectors: everything that registers something with mmdet is imported here."""

import random
import warnings
from pathlib import Path
from typing import Any

import mmdet.models  # noqa: F401 - registers the detectors
import numpy as np
import torch
from mmdet.datasets import transforms  # noqa: F401 - registers the transforms
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

import paploss.trainer.heads  # noqa: F401 - registers the heads
from paploss.trainer.profiles.recipe import Config
from paploss.trainer.weights import load_backbone

init_default_scope("mmdet")
MMLogger.get_instance("mmengine", log_level="WARNING")  # else it prints a line for each layer that it initialises


def build_detector(model: Config, seed: int, weights: str | None = None) -> Any:
    """The detector of a recipe, an mmdet module, with its first weights, which follow from the seed.

    Args:
        model: mmdet's model configuration.
        seed: for the random weights.
        weights: file of pretrained backbone weights.

    Raises:
        UserError: the weights do not fit.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - mmengine initialises from the global generators
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="DeprecationWarning: `num_anchors`"
        )  # mmdet's ATSSHead still reads it
        detector = MODELS.build(ConfigDict(model))  # heads read their settings as attributes
    detector.init_weights()
    if weights is not None:
        load_backbone(detector, Path(weights))
    return detector
