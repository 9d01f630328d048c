"""Reading and checking one split of a COCO-format data set.

A box is `[x, y, width, height]` in pixels in the file, corners `(x1, y1, x2, y2)` in pixels for the detector.
"""

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paploss.jobs.spec import Split
from paploss.trainer.errors import UserError

log = logging.getLogger(__name__)

Json = dict[str, Any]

KEYS: dict[str, tuple[str, ...]] = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
"""The lists of a COCO file, and the keys that each of their entries needs. Of images nothing else is kept."""
_TYPES = {"id": int, "image_id": int, "category_id": int, "file_name": str, "name": str}
_MEANINGS = {int: "a whole number", str: "a text"}


@dataclass(frozen=True)
class CocoSplit:
    """One split, checked: boxes are finite, inside their image and not empty."""

    annotation_file: Path
    image_folder: Path
    images: tuple[Json, ...]
    """COCO's `images`, in the file's order, with the keys in KEYS."""
    annotations: tuple[Json, ...]
    """COCO's `annotations` after clipping, with the keys in KEYS, `id`, `area` and `iscrowd`: no outlines."""
    categories: tuple[Json, ...]
    """COCO's `categories`; the position is the detector's label. In the file's order, as in mmdet's CocoDataset: final
    weights mean the same to mmdet's own tools."""

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(category["name"] for category in self.categories)

    @property
    def categories_by_id(self) -> dict[int, str]:
        return {category["id"]: category["name"] for category in self.categories}

    def samples(self) -> Iterator[Json]:
        """What mmdet's transforms start from, one per image; crowds carry `ignore_flag` 1."""
        labels = {category["id"]: label for label, category in enumerate(self.categories)}
        annotations: dict[int, list[Json]] = {image["id"]: [] for image in self.images}
        for annotation in self.annotations:
            annotations[annotation["image_id"]].append(annotation)
        for image in self.images:
            yield {
                "img_path": str(self.image_folder / image["file_name"]),
                "img_id": image["id"],
                "height": image["height"],
                "width": image["width"],
                "instances": [_instance(annotation, labels) for annotation in annotations[image["id"]]],
            }

    def as_coco(self) -> Json:
        """The split as the content of a COCO file."""
        return {
            "images": list(self.images),
            "annotations": list(self.annotations),
            "categories": list(self.categories),
        }


def _instance(annotation: Json, labels: Mapping[int, int]) -> Json:
    x, y, width, height = annotation["bbox"]
    return {
        "bbox": [x, y, x + width, y + height],
        "bbox_label": labels[annotation["category_id"]],
        "ignore_flag": annotation["iscrowd"],
    }


def read_split(root: Path, split: Split) -> CocoSplit:
    """Reads and checks `split` below `root`.

    Boxes partly outside their image are clipped and empty ones left out, both with a counted warning.

    Raises:
        UserError: a file or folder is missing or is not COCO's, there is no image, or a box is not finite or wholly
            outside its image; the message names the file and the annotation.
    """
    annotation_file, image_folder = root / split.annotations, root / split.images
    content = read_json(annotation_file)
    if not image_folder.is_dir():
        raise UserError(f"{image_folder}: no such folder of images (named for {annotation_file})")
    images = tuple(_checked_images(annotation_file, content["images"]))
    _check_categories(annotation_file, content["categories"])
    categories = tuple(content["categories"])
    annotations = tuple(_checked_annotations(annotation_file, content["annotations"], images, categories))
    return CocoSplit(annotation_file, image_folder, images, annotations, categories)


def read_json(annotation_file: Path) -> Json:
    """The content of a COCO file with its three lists, whose entries have all the keys that they need.

    Raises:
        UserError: no such file, not JSON, or a list or a key of an entry is missing or of another type.
    """
    try:
        content: Json = json.loads(annotation_file.read_bytes())
    except OSError as error:
        raise UserError(f"{annotation_file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{annotation_file}: not JSON: {error}") from error
    for name, keys in KEYS.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise UserError(f"{annotation_file}: expected a COCO file, an object with a list {name!r}")
        for position, entry in enumerate(content[name]):
            _check_keys(f"{annotation_file}: {name}[{position}]", entry, keys)
    return content


def _check_keys(where: str, entry: Any, keys: tuple[str, ...]) -> None:
    for key in keys:
        if not isinstance(entry, dict) or key not in entry:
            raise UserError(f"{where}: expected an object with a key {key!r}")
        expected = _TYPES.get(key)
        if expected is not None and (not isinstance(entry[key], expected) or isinstance(entry[key], bool)):
            raise UserError(f"{where}.{key}: expected {_MEANINGS[expected]}, got {entry[key]!r}")


def _checked_images(file: Path, images: list[Json]) -> Iterable[Json]:
    if not images:
        raise UserError(f"{file}: expected at least one image, 'images' is empty")
    seen: set[int] = set()
    for image in images:
        if image["id"] in seen:
            raise UserError(f"{file}: image id {image['id']} occurs twice")
        if Path(image["file_name"]).is_absolute() or ".." in Path(image["file_name"]).parts:
            raise UserError(
                f"{file}: image {image['id']}: file_name: expected a path inside the folder of images, "
                f"got {image['file_name']!r}"
            )
        if not all(_is_number(image[key]) and image[key] > 0 for key in ("width", "height")):
            raise UserError(
                f"{file}: image {image['id']}: expected a width and height above 0, "
                f"got {image['width']} and {image['height']}"
            )
        seen.add(image["id"])
        yield {key: image[key] for key in KEYS["images"]}


def _check_categories(file: Path, categories: list[Json]) -> None:
    if not categories:
        raise UserError(f"{file}: expected at least one category, 'categories' is empty")
    if len({category["id"] for category in categories}) != len(categories):
        raise UserError(f"{file}: a category id occurs twice")


def _checked_annotations(
    file: Path, annotations: list[Json], images: tuple[Json, ...], categories: tuple[Json, ...]
) -> Iterable[Json]:
    image_by_id = {image["id"]: image for image in images}
    category_ids = {category["id"] for category in categories}
    counts: Counter[str] = Counter()
    for position, annotation in enumerate(annotations):
        where = f"{file}: annotation {annotation.get('id', f'at position {position}')}"
        if annotation["image_id"] not in image_by_id:
            raise UserError(f"{where}: image_id {annotation['image_id']} is not among the images")
        if annotation["category_id"] not in category_ids:
            raise UserError(f"{where}: category_id {annotation['category_id']} is not among the categories")
        if annotation.get("iscrowd", 0) not in (0, 1):
            raise UserError(f"{where}: iscrowd: expected 0 or 1, got {annotation['iscrowd']!r}")
        if "area" in annotation and not _is_number(annotation["area"]):
            raise UserError(f"{where}: area: expected a finite number, got {annotation['area']!r}")
        image = image_by_id[annotation["image_id"]]
        box, change = _checked_box(where, annotation["bbox"], image["width"], image["height"])
        counts[change] += 1
        if change == "empty":
            continue
        yield {
            "id": position + 1,  # pycocotools takes id 0 for "unmatched"
            "image_id": annotation["image_id"],
            "category_id": annotation["category_id"],
            "bbox": box,
            "area": annotation.get("area", box[2] * box[3]),
            "iscrowd": int(annotation.get("iscrowd", 0)),
        }
    if counts["clipped"]:
        log.warning("%s: %d boxes reach outside their image and were clipped", file, counts["clipped"])
    if counts["empty"]:
        log.warning("%s: %d empty boxes were left out", file, counts["empty"])


def _checked_box(where: str, box: Any, width: float, height: float) -> tuple[list[float], str]:
    """The box inside the image, and what became of it: "kept", "clipped" or "empty"."""
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        raise UserError(f"{where}: expected a bbox of four finite numbers [x, y, width, height], got {box}")
    x, y, box_width, box_height = box
    if box_width <= 0 or box_height <= 0:
        return box, "empty"
    if x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
        raise UserError(f"{where}: bbox {box} is wholly outside its image of {width} x {height} px")
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + box_width, width), min(y + box_height, height)
    if (x1, y1, x2, y2) == (x, y, x + box_width, y + box_height):
        return box, "kept"
    return [x1, y1, x2 - x1, y2 - y1], "clipped"


def _is_number(value: Any) -> bool:
    """Whether `value` is a number that float64 holds, neither infinite nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
