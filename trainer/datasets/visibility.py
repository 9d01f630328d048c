"""Which objects are too small for a detector at the size at which it sees images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.profiles.recipe import Config, Recipe

STEM_STRIDE = 4
"""Of a ResNet's first stage, in pixels; each further one doubles it."""


@dataclass(frozen=True)
class Visibility:
    """The smallest object that a profile is made for."""

    profile: str
    smallest_px: float
    """Side of a square object in the resized image."""
    scale_px: tuple[int, int]
    """Bounds of the long and the short side of the resized image."""

    @property
    def limit(self) -> str:
        """What is too small, in words."""
        short = min(self.scale_px)
        return f"smaller than {self.smallest_px:g} px, the least that {self.profile} is made for, at its {short} px"

    def count_unseen(self, split: CocoSplit) -> int:
        """Objects, crowds aside, that are smaller."""
        factors = {image["id"]: self._factor(image["width"], image["height"]) for image in split.images}
        sides = (
            math.sqrt(one["bbox"][2] * one["bbox"][3]) * factors[one["image_id"]]
            for one in split.annotations
            if not one["iscrowd"]
        )
        return sum(side < self.smallest_px for side in sides)

    def _factor(self, width: float, height: float) -> float:
        return min(max(self.scale_px) / max(width, height), min(self.scale_px) / min(width, height))


def visibility_of(profile: str, recipe: Recipe) -> Visibility:
    """What the detector of a recipe can see in tests.

    The limit is the side of its smallest anchor. ATSS takes the nearest anchors whatever their size, and a DETR has
    none; there it is the finest stride.
    """
    anchors = next(_find(recipe.model, "anchor_generator"), None)
    if anchors is None:
        side = float(STEM_STRIDE * 2 ** min(recipe.model["backbone"]["out_indices"]))
    else:
        side = float(min(anchors["strides"]))
        if not any(assigner["type"] == "ATSSAssigner" for assigner in _find(recipe.model, "assigner")):
            side *= anchors.get("octave_base_scale") or min(anchors["scales"])
    resize = next(one for one in recipe.test_pipeline if one["type"] == "Resize")
    return Visibility(profile, side, tuple(resize["scale"]))


def _find(config: Any, name: str) -> Iterator[Config]:
    """Every part of a configuration that has this name."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key == name:
                yield value
            else:
                yield from _find(value, name)
