"""Recognising boxes that were written in another format than COCO's `[x, y, width, height]` in pixels, or than YOLO's,
by their centre in parts of the image.

A file is judged as a whole. Where the boxes fit another format and not this one, it is refused: trained on, it would
give a detector of nonsense, and a low AP instead of a message.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paploss.trainer.datasets.numbers import is_number

FEWEST = 3
"""Boxes; fewer say nothing about a file."""
OUTSIDE = 0.1
"""Part of the boxes that has to reach outside the images before another format is considered."""
SLACK = 0.02
"""Of an image's sides: tools round, and some boxes are drawn beyond the border."""
MANY = 20
"""Boxes; so many lie everywhere in their images."""
MANY_OUTSIDE = 0.5
"""With so many, something is wrong whatever it is."""

Floats = NDArray[np.float64]


def find_other_format(
    boxes: Sequence[Sequence[float]], sizes: Sequence[tuple[float, float]], areas: Sequence[Any]
) -> str | None:
    """What the boxes of a file are instead of `[x, y, width, height]` in pixels, as a sentence; None if they may be.

    Args:
        boxes: with a width and height above 0.
        sizes: width and height of each box's image, px.
        areas: the file's area of each object, or None.
    """
    if not boxes:
        return None
    values, image = np.array(boxes, dtype=np.float64), np.array(sizes, dtype=np.float64)
    count = len(values)
    parts = int((((values <= 1.05) & (values >= -0.05)).all(axis=1) & (image >= 8).all(axis=1)).sum())
    if 2 * parts > count and (count >= FEWEST or (values % 1).any()):
        return f"{parts} of {count} boxes lie between 0 and 1: they look like parts of the image, pixels are expected"
    return _find_other_pixels(values, image, areas) if count >= FEWEST else None


def _find_other_pixels(values: Floats, image: Floats, areas: Sequence[Any]) -> str | None:
    count, slack, half = len(values), np.maximum(2.0, SLACK * image), values[:, 2:] / 2
    ends = values[:, :2] + values[:, 2:]
    outside = float(((ends > image + slack) | (values[:, :2] < -slack)).any(axis=1).mean())
    if (_lie_between(values[:, :2], values[:, 2:], image + slack)) and (
        outside >= OUTSIDE or _areas_are_of_corners(values, areas)
    ):
        return f"the {count} boxes look like corners [x1, y1, x2, y2], [x, y, width, height] is expected"
    if outside < OUTSIDE:
        return None
    if (
        count >= 2 * FEWEST
        and _lie_between(-slack, values[:, :2] - half, image)
        and _lie_between(0 * slack, values[:, :2] + half, image + slack)
    ):
        return f"the {count} boxes look like centres [x, y, width, height], the upper left corner is expected"
    if outside > MANY_OUTSIDE and count >= MANY:
        number = round(outside * count)
        return f"{number} of {count} boxes reach far outside their images: another format, or labelled at another size"
    return None


def _lie_between(least: Floats, values: Floats, most: Floats) -> bool:
    return bool(((least < values) & (values <= most)).all())


def _areas_are_of_corners(values: Floats, areas: Sequence[Any]) -> bool:
    """Whether the file's areas are those of the boxes read as corners, and not those of the boxes as they stand."""
    if not all(is_number(area) and area > 0 for area in areas):
        return False
    given = np.array(areas, dtype=np.float64)
    as_corners = (values[:, 2] - values[:, 0]) * (values[:, 3] - values[:, 1])
    as_sizes = values[:, 2] * values[:, 3]
    fits_corners, fits_sizes = (np.abs(given - read) <= 0.02 * read + 2 for read in (as_corners, as_sizes))
    return bool(fits_corners.mean() > 0.9 and fits_sizes.mean() < 0.5)


def find_other_parts(boxes: Sequence[Sequence[float]]) -> str | None:
    """What the boxes of a YOLO data set are instead of `x y width height` by their centre; None if they may be.

    Args:
        boxes: four numbers each, in parts of the image.
    """
    if len(boxes) < 2 * FEWEST:
        return None
    values = np.array(boxes, dtype=np.float64)
    first, second = values[:, :2], values[:, 2:]
    one, half = np.ones_like(first), second / 2
    outside = float(((first < half - SLACK) | (first + half > 1 + SLACK)).any(axis=1).mean())
    if outside < OUTSIDE:
        return None
    if _lie_between(first, second, one + SLACK):
        return f"the {len(boxes)} boxes look like corners x1 y1 x2 y2, x y width height by the centre is expected"
    if _lie_between(-one, first + second, one + SLACK):
        return f"the {len(boxes)} boxes look like x y width height by the upper left corner, the centre is expected"
    return None


def stays_in_the_corner(boxes: Sequence[Sequence[float]], sizes: Sequence[tuple[float, float]]) -> bool:
    """Whether many boxes all keep to the upper left of their images, as where images were enlarged after labelling."""
    if len(boxes) < MANY:
        return False
    values, image = np.array(boxes, dtype=np.float64), np.array(sizes, dtype=np.float64)
    return bool(((values[:, :2] + values[:, 2:]) / image).max() < 0.6)
