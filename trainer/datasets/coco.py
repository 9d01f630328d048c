"""Reading and checking one split of a COCO-format data set.

A box is `[x, y, width, height]` in pixels in the file, corners `(x1, y1, x2, y2)` in pixels for the detector. Ids in a
file are whole numbers of any size or texts; in a CocoSplit an image's id is its position, counted from 1.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from paploss.files import read_regular
from paploss.jobs.messages import printable
from paploss.jobs.metrics import LONGEST_CLASS_NAME, MOST_CLASSES
from paploss.jobs.spec import Split
from paploss.trainer.datasets.annotations import Known, read_annotations
from paploss.trainer.datasets.findings import Findings
from paploss.trainer.datasets.numbers import is_number
from paploss.trainer.errors import UserError, blame_machine

log = logging.getLogger(__name__)

Json = dict[str, Any]

KEYS: dict[str, tuple[str, ...]] = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
"""The lists of a COCO file, and the keys that each of their entries needs. Of images nothing else is kept."""
_IDS, _TEXTS = ("id", "image_id", "category_id"), ("file_name", "name")


@dataclass(frozen=True)
class CocoSplit:
    """One split, checked: boxes are finite, inside their image and not empty."""

    annotation_file: Path
    image_folder: Path
    images: tuple[Json, ...]
    """COCO's `images`, in the file's order, with the keys in KEYS; `id` is the position, from 1."""
    annotations: tuple[Json, ...]
    """COCO's `annotations` after clipping, with the keys in KEYS, `id`, `area` and `iscrowd`: no outlines."""
    categories: tuple[Json, ...]
    """COCO's `categories` with the file's ids; the position is the detector's label. In the file's order, as in mmdet's
    CocoDataset: final weights mean the same to mmdet's own tools."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of labels; two may be equal."""
        return tuple(category["name"] for category in self.categories)

    @property
    def class_keys(self) -> tuple[str, ...]:
        """A text for each label, all different: the name, with the category's id where names are equal or empty."""
        counts = Counter(self.classes)
        keys: list[str] = []
        for category in self.categories:
            name = category["name"]
            key = name if name.strip() and counts[name] == 1 else f"{name} (id {category['id']})".strip()
            while key in keys or (key != name and key in counts):
                key += "'"
            if len(key) > LONGEST_CLASS_NAME:
                key = f"{key[: LONGEST_CLASS_NAME - 20]} (label {len(keys)})"
            keys.append(key)
        return tuple(keys)

    @property
    def labels(self) -> dict[Hashable, int]:
        """Labels by category id."""
        return {category["id"]: label for label, category in enumerate(self.categories)}

    def samples(self) -> Iterator[Json]:
        """What mmdet's transforms start from, one per image; crowds carry `ignore_flag` 1."""
        labels = self.labels
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
        """The split as the content of a COCO file whose category ids are labels, counted from 1."""
        labels = self.labels
        return {
            "images": list(self.images),
            "annotations": [{**one, "category_id": labels[one["category_id"]] + 1} for one in self.annotations],
            "categories": [{"id": label, "name": name} for label, name in enumerate(self.classes, start=1)],
        }


def _instance(annotation: Json, labels: dict[Hashable, int]) -> Json:
    x, y, width, height = annotation["bbox"]
    return {
        "bbox": [x, y, x + width, y + height],
        "bbox_label": labels[annotation["category_id"]],
        "ignore_flag": annotation["iscrowd"],
    }


def read_split(root: Path, split: Split, findings: Findings | None = None) -> CocoSplit:
    """Reads and checks `split` below `root`.

    Boxes partly outside their image are clipped and empty ones left out, both with a counted warning.

    Args:
        root: the data set's folder.
        split: where below it the annotations and the images lie.
        findings: takes errors and warnings; without it errors are raised.

    Raises:
        UserError: a file or folder is missing or is not COCO's, or an entry lacks a key; without `findings` also every
            other error. The message names the file and the annotations.
    """
    annotation_file, image_folder = root / split.annotations, root / split.images
    content = read_json(annotation_file)
    try:
        is_folder = image_folder.is_dir()
    except OSError as error:  # one on the way to it is closed to this user
        blame_machine(image_folder, error)
        raise UserError(f"{image_folder}: cannot be read: {error.strerror} (named for {annotation_file})") from error
    if not is_folder:
        raise UserError(f"{image_folder}: no such folder of images (named for {annotation_file})")
    return checked_split(content, annotation_file, image_folder, findings)


def checked_split(
    content: Json, annotation_file: Path, image_folder: Path, findings: Findings | None = None
) -> CocoSplit:
    """The split that `content` of a COCO file describes; see `read_split`."""
    found = Findings() if findings is None else findings
    positions: dict[Hashable, int] = {}
    images = tuple(_read_images(annotation_file, image_folder, content["images"], positions, found))
    _check_categories(annotation_file, content["categories"], found)
    categories = tuple({"id": one["id"], "name": printable(one["name"])} for one in content["categories"])
    known = Known(annotation_file, images, positions, {category["id"] for category in categories})
    annotations = tuple(read_annotations(content["annotations"], known, found))
    if findings is None:
        found.raise_errors()
        for warning in found.warnings():
            log.warning("%s", warning)
    return CocoSplit(annotation_file, image_folder, images, annotations, categories)


def read_json(annotation_file: Path) -> Json:
    """The content of a COCO file with its three lists, whose entries have all the keys that they need.

    Raises:
        UserError: no such file, not JSON, or a list or a key of an entry is missing or of another type.
    """
    try:
        content: Json = json.loads(read_regular(annotation_file))
    except OSError as error:
        blame_machine(annotation_file, error)
        raise UserError(f"{annotation_file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{annotation_file}: not JSON: {error}") from error
    findings = Findings()
    for name, keys in KEYS.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise UserError(f"{annotation_file}: expected a COCO file, an object with a list {name!r}")
        for position, entry in enumerate(content[name]):
            fault = _find_fault(entry, keys)
            if fault:
                findings.error(
                    annotation_file, f"{{count}} entries of {name!r} are faulty", f"{name}[{position}]{fault}"
                )
    findings.raise_errors()
    return content


def _find_fault(entry: Any, keys: tuple[str, ...]) -> str:
    for key in keys:
        if not isinstance(entry, dict) or key not in entry:
            return f": expected an object with a key {key!r}"
        value = entry[key]
        if key in _IDS and (not isinstance(value, int | str) or isinstance(value, bool)):
            return f".{key}: expected a whole number or a text, got {value!r}"
        if key in _TEXTS and not isinstance(value, str):
            return f".{key}: expected a text, got {value!r}"
    return ""


def _read_images(
    file: Path, folder: Path, images: list[Json], positions: dict[Hashable, int], findings: Findings
) -> Iterator[Json]:
    """The images by position; `positions` takes them by the file's ids."""
    if not images:
        findings.error(file, "expected at least one image, 'images' is empty")
    owners: dict[str, Any] = {}
    for position, image in enumerate(images, start=1):
        name, where = _read_name(file, folder, image["file_name"], findings), f"image {image['id']!r}"
        if image["id"] in positions:
            findings.error(file, "{count} image ids occur twice", f"image id {image['id']!r} occurs twice")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            findings.error(
                file,
                "{count} images have names outside the folder of images",
                f"{where}: file_name: expected a path inside the folder of images, got {image['file_name']!r}",
            )
        if name in owners:
            message = f"{where} and image {owners[name]!r} have the same file_name {name!r}"
            findings.error(file, "{count} file names occur twice", message)
        width, height = image["width"], image["height"]
        if not all(is_number(side) and side > 0 for side in (width, height)):
            size = f"{width!r} and {height!r}"
            findings.error(
                file, "{count} images have no size", f"{where}: expected a width and height above 0, got {size}"
            )
            width = height = 1  # so that the rest can be checked
        positions.setdefault(image["id"], position)
        owners.setdefault(name, image["id"])
        yield {"id": position, "file_name": name, "width": width, "height": height}


def _read_name(file: Path, folder: Path, name: str, findings: Findings) -> str:
    """The name of an image with slashes, as Windows tools mean their backslashes."""
    if "\\" not in name or os.path.exists(folder / name):
        return name
    findings.warning(file, "{count} file names have backslashes, which were taken as slashes", repr(name))
    slashed = name.replace("\\", "/")
    return f"/{slashed}" if slashed[1:2] == ":" else slashed  # with a drive it is a path of another machine


def _check_categories(file: Path, categories: list[Json], findings: Findings) -> None:
    if not categories:
        findings.error(file, "expected at least one category, 'categories' is empty")
    if len(categories) > MOST_CLASSES:
        findings.error(file, f"expected at most {MOST_CLASSES} categories, got {len(categories)}")
    for category_id, count in Counter(category["id"] for category in categories).items():
        if count > 1:
            findings.error(file, "{count} category ids occur twice", f"a category id occurs twice: {category_id!r}")
    for name, count in Counter(category["name"] for category in categories).items():
        if count > 1:
            ids = ", ".join(repr(category["id"]) for category in categories if category["name"] == name)
            findings.warning(file, "{count} names belong to several categories", f"{name!r}: ids {ids}")
