"""Some images of a split with their objects and detections: the same ones whatever the loss and the seed."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from paploss.files import read_regular
from paploss.jobs.analysis import (
    LONGEST_FILE_NAME,
    LONGEST_NAME,
    MOST_DETECTIONS,
    MOST_PICTURES,
    MOST_TRUTHS,
    Detection,
    Picture,
    Truth,
)
from paploss.jobs.thumbnails import MOST_BYTES
from paploss.trainer.analysis.errors import KINDS, SortedDetections
from paploss.trainer.datasets.coco import CocoSplit, Json

SIDE_PX = 320
"""The longer side of a thumbnail, of an image that is not smaller."""
_QUALITIES = (80, 50, 20)
"""Of JPEG: the first whose file is small enough is taken."""

Box = tuple[float, float, float, float]


def choose_images(split: CocoSplit) -> list[int]:
    """Positions of the images that are shown, by a hash of their position; images with objects before others."""
    shown = {one["image_id"] for one in split.annotations if not one["iscrowd"]}
    ranks = {
        place: (image["id"] not in shown, hashlib.sha256(str(place).encode()).digest())
        for place, image in enumerate(split.images)
    }
    return sorted(sorted(ranks, key=ranks.__getitem__)[:MOST_PICTURES])


def make_pictures(split: CocoSplit, found: SortedDetections) -> Iterator[Picture]:
    """The chosen images with what was detected in them."""
    hits = found.kinds == KINDS.index("hit")
    scores = dict(zip(found.annotations[found.objects[hits]].tolist(), found.scores[hits].tolist(), strict=True))
    names, labels = [_shorten(key) for key in split.class_keys], split.labels
    for place in choose_images(split):
        image = split.images[place]
        truths = [(number, one) for number, one in enumerate(split.annotations) if one["image_id"] == image["id"]]
        yield Picture(
            file_name=image["file_name"][-LONGEST_FILE_NAME:],
            width_px=round(image["width"]),
            height_px=round(image["height"]),
            truths=tuple(
                Truth(
                    box=_round(one["bbox"]),
                    name=names[labels[one["category_id"]]],
                    crowd=bool(one["iscrowd"]),
                    found=_score(scores[number]) if number in scores else None,
                )
                for number, one in truths[:MOST_TRUTHS]
            ),
            detections=tuple(_detections(found, image, names)),
            thumbnail=make_thumbnail(split.image_folder / image["file_name"]),
        )


def make_thumbnail(file: Path) -> str | None:
    """A small JPEG of an image as a detector sees it, in base64; None where it cannot be read."""
    try:  # not `imread`, which ends the process where a name is no UTF-8
        pixels = cv2.imdecode(np.frombuffer(read_regular(file), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    scale = SIDE_PX / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    for quality in _QUALITIES:
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(encoded) <= MOST_BYTES:
            return base64.b64encode(encoded.tobytes()).decode()
    return None


def _detections(found: SortedDetections, image: Json, names: Sequence[str]) -> Iterator[Detection]:
    for row in np.flatnonzero(found.images == image["id"])[:MOST_DETECTIONS]:
        yield Detection(
            box=_round(found.boxes[row].tolist()),
            name=names[found.labels[row]],
            score=_score(float(found.scores[row])),
            kind=KINDS[found.kinds[row]],
            iou=min(1.0, round(float(found.ious[row]), 3)),
        )


def _round(box: list[float]) -> Box:
    x, y, width, height = (round(float(value), 1) for value in box)
    return x, y, width, height


def _score(score: float) -> float:
    return round(min(1.0, max(0.0, score)), 4)


def _shorten(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
