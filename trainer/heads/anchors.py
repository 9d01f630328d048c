"""mmdet's anchors, made once for each size of images."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor

MOST_SIZES = 16
"""Sizes whose anchors are kept; 200,000 anchors, those of 1333 x 800 pixels, take 3 MB."""


@TASK_UTILS.register_module()
class CachedAnchorGenerator(AnchorGenerator):  # type: ignore[misc]
    """An AnchorGenerator with the same arguments and results, which are not to be changed in place.

    mmdet makes all anchors anew in each step, and for each image the flags of those inside it: 680 of the 3300
    operations of a RetinaNet's step with 16 images, and a GPU waits for each to be launched.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Tensors that were made in inference mode cannot be part of a graph: they are kept apart.
        self._priors = lru_cache(MOST_SIZES)(lambda _, *given: super(CachedAnchorGenerator, self).grid_priors(*given))
        self._flags = lru_cache(MOST_SIZES)(lambda _, *given: super(CachedAnchorGenerator, self).valid_flags(*given))

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cuda",
    ) -> list[Tensor]:
        """Anchors of each level, `[height * width * anchors per place, 4]`, given the height and width of its map."""
        return list(self._priors(torch.is_inference_mode_enabled(), tuple(featmap_sizes), dtype, device))

    def valid_flags(
        self, featmap_sizes: Sequence[tuple[int, int]], pad_shape: tuple[int, ...], device: torch.device | str = "cuda"
    ) -> list[Tensor]:
        """Which anchors of each level begin inside an image of this height and width, in pixels."""
        return list(self._flags(torch.is_inference_mode_enabled(), tuple(featmap_sizes), tuple(pad_shape), device))
