"""Checking the annotations of one COCO file: what they refer to, their boxes and their areas."""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from paploss.trainer.datasets.box_formats import find_other_format, stays_in_the_corner
from paploss.trainer.datasets.findings import Findings
from paploss.trainer.datasets.numbers import is_number

CLIPPED = "{count} boxes reach outside their image and were clipped"
DUPLICATE = "{count} boxes occur twice"
IGNORED = "{count} annotations have ignore set, not iscrowd: objects like others, as in COCO's evaluation"
EMPTY = "{count} empty boxes were left out"

THINNEST_PX = 0.01
"""Of a box. The corners of a thinner one are soon equal in float32, and to RetinaNet's assigner an object that overlaps
no anchor is the object of all of them."""

Json = dict[str, Any]
Box = list[float]


@dataclass(frozen=True)
class Known:
    """What the annotations of a file may refer to."""

    file: Path
    images: Sequence[Json]
    """By position; `id` is the position, from 1."""
    positions: Mapping[Hashable, int]
    """Of the images, from 1, by the file's ids."""
    category_ids: Collection[Hashable]


class _Placed(NamedTuple):
    """An annotation with an image, a category and four numbers."""

    position: int
    where: str
    """For messages."""
    content: Json
    box: Box
    image: Json

    @property
    def is_empty(self) -> bool:
        return self.box[2] <= 0 or self.box[3] <= 0

    @property
    def place(self) -> str:
        """The box, for messages."""
        size = f"{self.image['width']} x {self.image['height']} px"
        return f"{self.where}: {self.box} in {self.image['file_name']} of {size}"


def read_annotations(annotations: Sequence[Json], known: Known, findings: Findings) -> Iterator[Json]:
    """COCO's annotations with boxes inside their images; `image_id` is the image's position from 1.

    Args:
        annotations: the file's, with the keys that they need.
        known: what they may refer to.
        findings: takes errors and warnings.
    """
    file = known.file
    placed = list(_place(annotations, known, findings))
    is_other_format = _check_format(placed, file, findings)
    seen: set[tuple[object, ...]] = set()
    for one in placed:
        if one.is_empty:
            findings.warning(file, EMPTY, f"{one.where}: {one.box}")
            continue
        image = one.image
        inside = _clip(one.box, image["width"], image["height"])
        if inside is None:
            if not is_other_format:  # which is said once
                size = f"{image['width']} x {image['height']} px"
                message = f"{one.where}: bbox {one.box} is wholly outside its image of {size} ({image['file_name']})"
                findings.error(file, "{count} boxes are wholly outside their image", message)
            continue
        if min(inside[2:]) < THINNEST_PX and not is_other_format:
            findings.warning(file, EMPTY, one.place)
            continue
        if inside != one.box:
            findings.warning(file, CLIPPED, one.place)
        if min(inside[2:]) < 1 and not is_other_format:
            findings.warning(file, "{count} boxes are thinner than a pixel", one.place)
        if one.content.get("ignore") and not one.content.get("iscrowd"):
            findings.warning(file, IGNORED, one.where)
        key = (image["id"], one.content["category_id"], *inside)
        if key in seen:
            findings.warning(file, DUPLICATE, one.place)
        seen.add(key)
        yield {
            "id": one.position + 1,  # pycocotools takes id 0 for "unmatched"
            "image_id": image["id"],
            "category_id": one.content["category_id"],
            "bbox": inside,
            "area": _area(one, inside, file, findings),
            "iscrowd": int(one.content.get("iscrowd", 0)),
        }


def _check_format(placed: Sequence[_Placed], file: Path, findings: Findings) -> bool:
    """Whether the boxes are in another format, which is an error."""
    usable = [one for one in placed if not one.is_empty]
    boxes = [one.box for one in usable]
    sizes = [(one.image["width"], one.image["height"]) for one in usable]
    fault = find_other_format(boxes, sizes, [one.content.get("area") for one in usable])
    if fault:
        for one in usable:
            findings.error(file, fault, one.place)
    elif stays_in_the_corner(boxes, sizes):
        findings.warning(file, "no box reaches beyond 60 % of its image: were the images enlarged after labelling?")
    empty = len(placed) - len(usable)
    if empty > len(usable):
        findings.error(file, f"{empty} of {len(placed)} boxes have no width or height above 0")
    return fault is not None


def _place(annotations: Sequence[Json], known: Known, findings: Findings) -> Iterator[_Placed]:
    references = (("image_id", known.positions, "images"), ("category_id", known.category_ids, "categories"))
    for position, one in enumerate(annotations):
        where = f"annotation {one.get('id', f'at position {position}')}"
        faults = []
        for key, ids, kind in references:
            if one[key] not in ids:
                message = f"{key} {one[key]!r} is not among the {kind}{_hint(one[key], ids)}"
                faults.append((f"annotations name {kind} that do not exist", message))
        box = one["bbox"]
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
            message = f"expected a bbox of four finite numbers [x, y, width, height], got {_short(box)}"
            faults.append(("boxes are not four finite numbers", message))
        if one.get("iscrowd", 0) not in (0, 1):
            faults.append(("annotations have a faulty iscrowd", f"iscrowd: expected 0 or 1, got {one['iscrowd']!r}"))
        for sentence, message in faults:
            findings.error(known.file, f"{{count}} {sentence}", f"{where}: {message}")
        if not faults:
            yield _Placed(position, where, one, box, known.images[known.positions[one["image_id"]] - 1])


def _hint(key: Any, known: Collection[Hashable]) -> str:
    """That the same id is there as the other type: '7' and 7."""
    other = str(key) if isinstance(key, int) else int(key) if key.isdecimal() and len(key) < 40 else None
    return f"; there is {other!r}, {'a text' if isinstance(other, str) else 'a number'}" if other in known else ""


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _clip(box: Box, width: float, height: float) -> Box | None:
    """The part of the box inside the image, the box itself where that is all of it, None where there is nothing."""
    x, y, box_width, box_height = box
    if x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
        return None
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + box_width, width), min(y + box_height, height)
    if (x1, y1, x2, y2) == (x, y, x + box_width, y + box_height):
        return box
    return [x1, y1, x2 - x1, y2 - y1]


def _area(one: _Placed, inside: Box, file: Path, findings: Findings) -> Any:
    """The object's area in px^2, which decides what is small, medium and large.

    The file's, unless it cannot be one: not a number above 0, more than the box has, or below a pixel in a box of more.
    Then it is the area of the box inside the image.
    """
    if "area" not in one.content:
        return inside[2] * inside[3]
    area, whole = one.content["area"], one.box[2] * one.box[3]
    # Tools round areas, and some count the pixels of both edges.
    if is_number(area) and 0 < area <= 1.5 * whole + 10 and (area >= 1 or whole < 10):
        return area
    sentence = "{count} areas cannot be right for the boxes: width x height was taken"
    findings.warning(file, sentence, f"{one.where}: area {_short(area)}, bbox {one.box}")
    return inside[2] * inside[3]
