"""The smallest object that the detector of a recipe is made for."""

from collections.abc import Iterator
from typing import Any

from paploss.trainer.datasets.visibility import Visibility
from paploss.trainer.profiles.recipe import Config, Recipe

STEM_STRIDE = 4
"""Of a ResNet's first stage, in pixels; each further one doubles it."""


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
        if not any(assigner["type"] == "CrowdATSSAssigner" for assigner in _find(recipe.model, "assigner")):
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
