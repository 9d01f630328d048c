"""The kinds of errors by their definition, one detection at a time, and their costs by COCO's own evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.evaluation import evaluate_detections

Box = Sequence[float]


@dataclass
class Sorted:
    """One detection."""

    row: list[float]
    kind: str
    object: dict | None


def overlap(one: Box, other: Box, *, of_first: bool = False) -> float:
    """IoU of two boxes [x, y, width, height], or the share of the first that lies in the other."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    up = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(0, across) * max(0, up)
    return common / (one[2] * one[3] + (0 if of_first else other[2] * other[3] - common))


def sort_slowly(split: CocoSplit, rows: Sequence[Sequence[float]]) -> list[Sorted]:
    """All detections with their kinds; `ignored` are those in a crowd of their class."""
    found = []
    for image in split.images:
        taken: set[int] = set()
        truths = [one for one in split.annotations if one["image_id"] == image["id"] and not one["iscrowd"]]
        crowds = [one for one in split.annotations if one["image_id"] == image["id"] and one["iscrowd"]]
        for row in sorted((row for row in rows if row[0] == image["id"]), key=lambda row: -row[5]):
            found.append(_sort_one(split, row, truths, crowds, taken))
    return found


def _sort_one(split, row, truths, crowds, taken) -> Sorted:
    box, category = row[1:5], split.categories[int(row[6])]["id"]
    own = [(overlap(box, one["bbox"]), one) for one in truths if one["category_id"] == category]
    others = [(overlap(box, one["bbox"]), one) for one in truths if one["category_id"] != category]
    free = [pair for pair in own if pair[0] >= 0.5 and pair[1]["id"] not in taken]
    if free:
        _, best = max(free, key=lambda pair: pair[0])
        taken.add(best["id"])
        return Sorted(list(row), "hit", best)
    for crowd in crowds:
        if crowd["category_id"] == category and overlap(box, crowd["bbox"], of_first=True) >= 0.5:
            return Sorted(list(row), "ignored", None)
    none = (0.0, None)
    (a, same), (b, other) = (max(pairs, key=lambda pair: pair[0], default=none) for pairs in (own, others))
    if 0.1 <= a < 0.5:
        kind, of = "localisation", same
    elif b >= 0.5:
        kind, of = "classification", other
    elif a >= 0.5:
        kind, of = "duplicate", same
    elif max(a, b) < 0.1:
        kind, of = "background", None
    else:
        kind, of = "both", other
    return Sorted(list(row), kind, of)


def find_missed(split: CocoSplit, found: Sequence[Sorted]) -> set[int]:
    """Ids of the objects that nothing hits and nothing nearly does."""
    near = {one.object["id"] for one in found if one.kind in ("hit", "localisation", "classification")}
    return {one["id"] for one in split.annotations if not one["iscrowd"]} - near


def cost_slowly(split: CocoSplit, rows: Sequence[Sequence[float]], kind: str) -> float:
    """What COCO's evaluation gives more once the errors of a kind are mended in the data."""
    found = sort_slowly(split, rows)
    mended, left = [list(one.row) for one in found if one.kind != kind], split
    if kind == "missed":
        missed = find_missed(split, found)
        left = replace(split, annotations=tuple(one for one in split.annotations if one["id"] not in missed))
    if kind in ("localisation", "classification"):
        hit = {one.object["id"] for one in found if one.kind == "hit"}
        for one in sorted((one for one in found if one.kind == kind), key=lambda one: -one.row[5]):
            if one.object["id"] not in hit:
                hit.add(one.object["id"])
                label = split.labels[one.object["category_id"]]
                mended.append([one.row[0], *one.object["bbox"], one.row[5], label])
    return _ap50(left, mended) - _ap50(split, rows)


def cost_as_tidecv(split: CocoSplit, rows: Sequence[Sequence[float]], kind: str) -> float:
    """The cost by the two rules in which tidecv differs.

    An object is mended by the best-scored error that is near it, be it of place or of class, and costs its kind alone.
    And a class with no object left stays in the mean, with an AP of 0.
    """
    if kind == "missed":
        missed = find_missed(split, sort_slowly(split, rows))
        left = replace(split, annotations=tuple(one for one in split.annotations if one["id"] not in missed))
        classes = [len({one["category_id"] for one in one_split.annotations}) for one_split in (left, split)]
        return max(0.0, _ap50(left, rows) * classes[0] / classes[1] - _ap50(split, rows))
    found = sort_slowly(split, rows)
    mended, has_best = [list(one.row) for one in found if one.kind != kind], set()
    for one in sorted(found, key=lambda one: (one.kind != "hit", -one.row[5])):
        if one.kind not in ("hit", "localisation", "classification") or one.object["id"] in has_best:
            continue
        has_best.add(one.object["id"])
        if one.kind == kind:
            label = split.labels[one.object["category_id"]]
            mended.append([one.row[0], *one.object["bbox"], one.row[5], label])
    return _ap50(split, mended) - _ap50(split, rows)


def _ap50(split: CocoSplit, rows: Sequence[Sequence[float]]) -> float:
    ap50 = evaluate_detections(split, np.array(rows, dtype=np.float64).reshape(-1, 7)).metrics.ap50
    return 1.0 if ap50 < 0 else ap50  # there is nothing left to find
