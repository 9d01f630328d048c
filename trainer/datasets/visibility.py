"""Which objects are too small for a detector at the size at which it sees images."""

import math
from dataclasses import dataclass

from paploss.trainer.datasets.coco import CocoSplit


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

    def shrinks_to_nothing(self, width: float, height: float) -> bool:
        """Whether the resized image has no pixel: its short side rounds to 0."""
        return min(width, height) * self._factor(width, height) < 0.5

    def _factor(self, width: float, height: float) -> float:
        return min(max(self.scale_px) / max(width, height), min(self.scale_px) / min(width, height))
