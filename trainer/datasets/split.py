"""Splitting a training set into a part to search on and a part to measure rewards on, with every class in both."""

import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import NamedTuple

from paploss.trainer.datasets.coco import Json, read_json
from paploss.trainer.datasets.stratification import choose_validation
from paploss.trainer.errors import UserError


class SplitFiles(NamedTuple):
    """Where the two parts lie, how many images each has, and which classes are not in both."""

    train: Path
    val: Path
    train_images: int
    val_images: int
    warnings: tuple[str, ...]


def split_names(annotation_file: Path) -> tuple[Path, Path]:
    """`search_train2017.json` and `search_val2017.json` beside `instances_train2017.json`.

    Whatever follows `train` in the name is kept; a name without it is kept whole: `x.json` to `search_train_x.json`.
    """
    _, found, suffix = annotation_file.stem.rpartition("train")
    ending = suffix if found else f"_{annotation_file.stem}"
    names = (f"search_{part}{ending}.json" for part in ("train", "val"))
    train, val = (annotation_file.with_name(name) for name in names)
    return train, val


def read_amount(text: str) -> int | float:
    """How many images are meant: "50" is a number of them, "0.1" and ".1" a fraction.

    Raises:
        UserError: it is neither; "1.0" could be meant as either, one image or all.
    """
    if text.isdecimal():
        return int(text)
    try:
        fraction = float(text)
    except ValueError:
        fraction = math.nan
    if not 0 < fraction < 1:
        raise UserError(f"val: expected a whole number of images, such as 50, or a fraction below 1, got {text!r}")
    return fraction


def split_file(annotation_file: Path, val_amount: float, seed: int, overwrite: bool = False) -> SplitFiles:
    """Writes both parts beside `annotation_file`; whole or not at all.

    Every class with two images or more is in both, as far as one split can do that for all of them with so many images;
    warnings name the others.

    Args:
        annotation_file: a COCO file.
        val_amount: below 1 a fraction of the images, from 1 a number of images for the validation part.
        seed: fixes the outcome.
        overwrite: replace files that exist.

    Raises:
        UserError: no COCO file, an amount that leaves a part empty, or files that exist.
    """
    content = read_json(annotation_file)
    count = len(content["images"])
    val_count = round(val_amount * count) if 0 < val_amount < 1 else val_amount
    if not 0 < val_count < count or val_count != int(val_count):
        raise UserError(
            f"val: expected a fraction of the {count} images in {annotation_file} or a number of them, "
            f"both parts not empty, got {val_amount}"
        )
    train_path, val_path = split_names(annotation_file)
    existing = [path for path in (train_path, val_path) if path.exists()]
    if existing and not overwrite:
        raise UserError(f"{existing[0]}: exists already; move it away, or overwrite it with --overwrite")
    _check_references(annotation_file, content)
    names = {category["id"]: category["name"] for category in content["categories"]}
    val_ids = choose_images(content, int(val_count), seed)
    parts = {
        train_path: _part(content, {image["id"] for image in content["images"]} - val_ids),
        val_path: _part(content, val_ids),
    }
    _write_all(parts)
    warnings = tuple(_describe_one_sided(_classes_by_image(content), val_ids, names))
    return SplitFiles(train_path, val_path, count - int(val_count), int(val_count), warnings)


def choose_images(content: Json, val_count: int, seed: int) -> set[Hashable]:
    """Ids of `val_count` images of a COCO file's content for the validation part; see `choose_validation`."""
    return choose_validation(_classes_by_image(content), val_count, seed)


def _check_references(file: Path, content: Json) -> None:
    image_ids = Counter(image["id"] for image in content["images"])
    for image_id, count in image_ids.items():
        if count > 1:
            raise UserError(f"{file}: image id {image_id!r} occurs twice")
    for annotation in content["annotations"]:
        if annotation["image_id"] not in image_ids:
            raise UserError(f"{file}: image_id {annotation['image_id']!r} is not among the images")


def _classes_by_image(content: Json) -> dict[Hashable, list[Hashable]]:
    """Categories of the objects of each image, crowds aside, by the image's id."""
    classes: dict[Hashable, list[Hashable]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        if not annotation.get("iscrowd", 0):
            classes[annotation["image_id"]].append(annotation["category_id"])
    return classes


def _describe_one_sided(
    classes: dict[Hashable, list[Hashable]], val_ids: set[Hashable], names: dict[Hashable, str]
) -> Iterator[str]:
    """A line for each class that is in one part only."""
    images: dict[Hashable, list[Hashable]] = {}
    for image_id, objects in classes.items():
        for category in set(objects):
            images.setdefault(category, []).append(image_id)
    for category, found in sorted(images.items(), key=lambda item: str(item[0])):
        in_val = sum(image_id in val_ids for image_id in found)
        if 0 < in_val < len(found):
            continue
        part = "validation" if in_val else "training"
        reason = "in one image" if len(found) == 1 else f"in {len(found)} images, which no split of this size can part"
        yield f"class {names.get(category, '')!r} (id {category}) is {reason}: it is in the {part} part alone"


def _part(content: Json, image_ids: set[Hashable]) -> Json:
    return {
        **content,
        "images": [image for image in content["images"] if image["id"] in image_ids],
        "annotations": [one for one in content["annotations"] if one["image_id"] in image_ids],
    }


def _write_all(parts: dict[Path, Json]) -> None:
    """Writes every file aside before it puts the first in place."""
    aside: dict[Path, Path] = {}
    try:
        for path, content in parts.items():
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            aside[path] = Path(name)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(content))  # much faster than json.dump
                file.flush()
                os.fsync(file.fileno())
        for path, partial in aside.items():
            partial.chmod(0o644)
            partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        for partial in aside.values():
            partial.unlink(missing_ok=True)
