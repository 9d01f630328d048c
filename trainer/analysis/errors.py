"""Which kinds of errors cost a detector AP, as TIDE sorts them (Bolya et al., ECCV 2020).

At IoU 0.5, a detection that COCO's evaluation matches with an object is a hit. Of the others, with a the largest IoU
with an object of its class and b the largest with one of another class (the order is that of TIDE's program):

    localisation     0.1 <= a < 0.5
    classification   b >= 0.5
    duplicate        a >= 0.5: a detection with a higher score has the object
    background       max(a, b) < 0.1
    both             else: another class's object, and that badly located

An object is missed if nothing hits it, and no detection would by a better box or another class. What lies in a crowd is
no error. A kind costs the AP50 that is won by fixing it alone: for localisation and classification the best-scored
detection of each object without a hit becomes one and the others go, for missed the objects go, else the detections go.
A class all of whose objects are missed then has no part in the mean, as in COCO's evaluation.

TIDE's program, tidecv, leaves such a class in with an AP of 0 if it has detections, and so shows a smaller cost; it
mends an object by the best-scored error near it, of place or of class, and lets it cost that kind alone; and it counts
what lies in a crowd. Else it comes to the same numbers (tests/trainer/analysis/test_errors_golden.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask
from pycocotools.cocoeval import COCOeval

from paploss.jobs.analysis import ERROR_KINDS, RECALL_POINTS, DetectionKind, ErrorCost, ErrorKind
from paploss.trainer.datasets.coco import CocoSplit

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

HIT_IOU, NEAR_IOU = 0.5, 0.1

KINDS: Final[tuple[DetectionKind, ...]] = (
    *("hit", "localisation", "classification", "duplicate", "background", "both"),
)
_HIT, _LOCALISATION, _CLASSIFICATION, _DUPLICATE, _BACKGROUND, _BOTH = range(len(KINDS))
_REPAIRED: Final = {"localisation": _LOCALISATION, "classification": _CLASSIFICATION}
_REMOVED: Final = {"duplicate": _DUPLICATE, "background": _BACKGROUND, "both": _BOTH}

_RECALLS = np.linspace(0.0, 1.0, RECALL_POINTS)


@dataclass(frozen=True)
class SortedDetections:
    """The n detections that count and the m objects of a split, in the order of its images."""

    images: Indices
    """[n], ids."""
    boxes: Numbers
    """[n, 4]: x, y, width, height (px); by image, those with the highest scores first."""
    scores: Numbers
    labels: Indices
    kinds: Indices
    """[n], positions in KINDS."""
    objects: Indices
    """[n], the object that it hits or that its kind refers to; -1 for none."""
    ious: Numbers
    """[n], with that object; 0 for none."""
    object_labels: Indices
    """[m]"""
    is_hit: Flags
    """[m]"""
    is_missed: Flags
    """[m]"""
    annotations: Indices
    """[m], positions in the split's annotations."""

    @property
    def threshold(self) -> float:
        """The score from which on F1 over all classes is highest; 0.5 without detections."""
        if not len(self.scores):
            return 0.5
        order = np.argsort(-self.scores, kind="stable")
        scores, counts = self.scores[order], np.arange(1, len(order) + 1)
        f1 = 2 * np.cumsum(self.kinds[order] == _HIT) / (counts + len(self.object_labels))
        is_last = np.append(scores[1:] < scores[:-1], True)  # of those with its score: a threshold takes all of them
        return float(scores[np.argmax(np.where(is_last, f1, -1.0))])


class _Part(NamedTuple):
    """Detections of one image: their rows, which objects of the image they hit or -1, and whether they are ignored."""

    rows: list[int]
    hits: list[int]
    is_ignored: list[bool]


class _Objects(NamedTuple):
    """The m objects of one image that count."""

    positions: Indices
    """[m], in the split's annotations, ascending."""
    boxes: Numbers
    """[m, 4]: x, y, width, height (px)."""
    labels: Indices


def sort_detections(evaluation: COCOeval, split: CocoSplit, detections: Numbers) -> SortedDetections:
    """Sort the detections of an evaluation into hits and kinds of errors.

    Args:
        evaluation: of `detections` on `split`, evaluated.
        split: images and objects.
        detections: `[n, 7]`: image id, x, y, width, height (px), score, label.
    """
    truths: dict[int, list[int]] = {image["id"]: [] for image in split.images}
    largest = evaluation.params.areaRng[0][1]
    for position, annotation in enumerate(split.annotations):
        if not annotation["iscrowd"] and annotation["area"] <= largest:
            truths[annotation["image_id"]].append(position)
    by_category = split.labels
    labels = np.array([by_category[one["category_id"]] for one in split.annotations], dtype=np.int64)
    boxes = np.array([one["bbox"] for one in split.annotations], dtype=np.float64).reshape(-1, 4)
    parts = _read_matches(evaluation, {one["id"]: place for place, one in enumerate(split.annotations)})
    is_hit, is_near = np.zeros(len(labels), dtype=bool), np.zeros(len(labels), dtype=bool)
    found: list[tuple[Numbers, Indices, Indices, Numbers]] = []
    for image, part in parts:
        order = np.argsort(-detections[part.rows, 5], kind="stable")
        kept = order[~np.array(part.is_ignored)[order]]
        rows, hits = detections[np.array(part.rows)[kept]], np.array(part.hits, dtype=np.int64)[kept]
        around = np.array(truths[image], dtype=np.int64)
        kinds, objects, ious = _sort(rows, hits, _Objects(around, boxes[around], labels[around]))
        is_hit[hits[hits >= 0]] = True
        is_near[objects[(kinds == _LOCALISATION) | (kinds == _CLASSIFICATION)]] = True
        found.append((rows, kinds, objects, ious))
    counted = np.array([position for image in split.images for position in truths[image["id"]]], dtype=np.int64)
    places = np.full(len(labels) + 1, -1, dtype=np.int64)  # the last one is what -1, no object, refers to
    places[counted] = np.arange(len(counted))
    rows = np.concatenate([np.zeros((0, 7)), *(rows for rows, _, _, _ in found)])
    return SortedDetections(
        images=rows[:, 0].astype(np.int64),
        boxes=rows[:, 1:5],
        scores=rows[:, 5],
        labels=rows[:, 6].astype(np.int64),
        kinds=np.concatenate([np.zeros(0, np.int64), *(kinds for _, kinds, _, _ in found)]),
        objects=places[np.concatenate([np.zeros(0, np.int64), *(objects for _, _, objects, _ in found)])],
        ious=np.concatenate([np.zeros(0), *(ious for _, _, _, ious in found)]),
        object_labels=labels[counted],
        is_hit=is_hit[counted],
        is_missed=~(is_hit | is_near)[counted],
        annotations=counted,
    )


def _read_matches(evaluation: COCOeval, positions: dict[int, int]) -> Iterator[tuple[int, _Part]]:
    """The matches at IoU 0.5 over all areas, by image; `positions`: of annotations by their ids."""
    images, areas = evaluation.params.imgIds, len(evaluation.params.areaRng)
    found: list[Any] = evaluation.evalImgs  # by class, area and image, in this order
    for place, image in enumerate(images):
        part = _Part([], [], [])
        for one in found[place :: areas * len(images)]:
            if one is None:
                continue
            part.rows.extend(number - 1 for number in one["dtIds"])
            part.hits.extend(positions.get(int(number), -1) for number in one["dtMatches"][0])
            part.is_ignored.extend(map(bool, one["dtIgnore"][0]))
        if part.rows:
            yield image, part


def _sort(rows: Numbers, hits: Indices, around: _Objects) -> tuple[Indices, Indices, Numbers]:
    """Kinds, objects and IoUs `[n]` of the detections `rows` [n, 7] of one image, of which `hits` [n] hit an object."""
    if not len(around.positions) or not len(rows):
        background = np.full(len(rows), _BACKGROUND, dtype=np.int64)
        return background, np.full(len(rows), -1, dtype=np.int64), np.zeros(len(rows))
    ious = np.asarray(mask.iou(rows[:, 1:5], around.boxes, [0] * len(around.positions)))
    is_same = rows[:, 6, None] == around.labels
    same, other = np.where(is_same, ious, 0.0), np.where(is_same, 0.0, ious)
    a, b = same.max(1), other.max(1)
    is_found = hits >= 0
    kinds = np.select(
        [is_found, (a >= NEAR_IOU) & (a < HIT_IOU), b >= HIT_IOU, a >= HIT_IOU, np.maximum(a, b) < NEAR_IOU],
        [_HIT, _LOCALISATION, _CLASSIFICATION, _DUPLICATE, _BACKGROUND],
        _BOTH,
    )
    nearest = np.where(np.isin(kinds, (_CLASSIFICATION, _BOTH)), other.argmax(1), same.argmax(1))
    nearest = np.where(is_found, np.searchsorted(around.positions, hits), nearest)
    objects = np.where(kinds == _BACKGROUND, -1, around.positions[nearest])
    return kinds, objects, np.where(objects < 0, ious.max(1), ious[np.arange(len(rows)), nearest])


def error_costs(found: SortedDetections) -> dict[ErrorKind, ErrorCost]:
    """What each kind of error costs, and how many there are."""
    base = ap50(found)
    is_shown = found.scores >= found.threshold
    costs: dict[ErrorKind, ErrorCost] = {}
    for kind in ERROR_KINDS:
        count = found.is_missed.sum() if kind == "missed" else (is_shown & (found.kinds == KINDS.index(kind))).sum()
        costs[kind] = ErrorCost(ap50=min(1.0, max(0.0, _ap50_without(found, kind) - base)), count=int(count))
    return costs


def ap50(found: SortedDetections) -> float:
    """AP at IoU 0.5, the mean over the classes that have objects."""
    return _mean_ap(found, found.labels, found.kinds == _HIT)


def _ap50_without(found: SortedDetections, kind: ErrorKind) -> float:
    labels, is_hit, is_kept = found.labels.copy(), found.kinds == _HIT, np.ones(len(found.kinds), dtype=bool)
    if kind in _REPAIRED:
        errors = np.flatnonzero(found.kinds == _REPAIRED[kind])
        errors = errors[np.argsort(-found.scores[errors], kind="stable")]
        _, first = np.unique(found.objects[errors], return_index=True)
        repaired = errors[first]
        repaired = repaired[~found.is_hit[found.objects[repaired]]]
        labels[repaired] = found.object_labels[found.objects[repaired]]
        is_hit[repaired] = True
        is_kept[errors] = False
        is_kept[repaired] = True
    elif kind in _REMOVED:
        is_kept = found.kinds != _REMOVED[kind]
    is_left = ~found.is_missed if kind == "missed" else None
    return _mean_ap(found, labels, is_hit, is_kept, is_left)


def _mean_ap(
    found: SortedDetections, labels: Indices, is_hit: Flags, is_kept: Flags | None = None, is_left: Flags | None = None
) -> float:
    """Mean over the classes that have objects left; 1 if none has: nothing is left to find."""
    order = np.argsort(-found.scores, kind="stable")
    if is_kept is not None:
        order = order[is_kept[order]]
    left = found.object_labels if is_left is None else found.object_labels[is_left]
    aps = []
    for label, positives in zip(*np.unique(left, return_counts=True), strict=True):
        aps.append(_average_precision(is_hit[order[labels[order] == label]], int(positives)))
    return float(np.mean(aps)) if aps else 1.0


def _average_precision(hits: Flags, positives: int) -> float:
    """COCO's interpolated AP of detections in descending order of their scores."""
    recalled = np.cumsum(hits)
    precision = recalled / np.arange(1, len(hits) + 1)
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(highest[np.searchsorted(recalled / positives, _RECALLS, side="left")].mean())
