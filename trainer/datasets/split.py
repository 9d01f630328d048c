"""Cutting a training set into a part to search on and a part to measure rewards on.

Stratified: images are put in order by the rarest class that they show, then by their number of objects, then by chance,
and every n-th of that row goes to the validation part. So each class, the rare ones above all, and crowded images keep
their shares.
"""

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paploss.trainer.datasets.coco import Json, read_json
from paploss.trainer.errors import UserError


class SplitFiles(NamedTuple):
    """Where the two parts lie, and how many images each has."""

    train: Path
    val: Path
    train_images: int
    val_images: int


def split_names(annotation_file: Path) -> tuple[Path, Path]:
    """`search_train2017.json` and `search_val2017.json` beside `instances_train2017.json`.

    Whatever follows `train` in the name is kept; a name without it is kept whole: `x.json` to `search_train_x.json`.
    """
    _, found, suffix = annotation_file.stem.rpartition("train")
    ending = suffix if found else f"_{annotation_file.stem}"
    names = (f"search_{part}{ending}.json" for part in ("train", "val"))
    train, val = (annotation_file.with_name(name) for name in names)
    return train, val


def split_file(annotation_file: Path, val_amount: float, seed: int, overwrite: bool = False) -> SplitFiles:
    """Writes both parts beside `annotation_file`; whole or not at all.

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
        raise UserError(f"{existing[0]}: exists already; move it away, or ask to overwrite it")
    val_ids = choose_images(content, int(val_count), seed)
    parts = {
        train_path: _part(content, {image["id"] for image in content["images"]} - val_ids),
        val_path: _part(content, val_ids),
    }
    _write_all(parts)
    return SplitFiles(train_path, val_path, count - int(val_count), int(val_count))


def choose_images(content: Json, val_count: int, seed: int) -> set[int]:
    """Ids of `val_count` images, a systematic sample of the images in the order described above.

    Crowds are not counted; images without objects are a stratum of their own.
    """
    generator = np.random.default_rng(seed)
    image_ids = [image["id"] for image in content["images"]]
    objects: dict[int, list[int]] = {image_id: [] for image_id in image_ids}
    for annotation in content["annotations"]:
        if not annotation.get("iscrowd", 0) and annotation["image_id"] in objects:
            objects[annotation["image_id"]].append(annotation["category_id"])
    totals = Counter(category for categories in objects.values() for category in categories)
    strata = {category: rank for rank, category in enumerate(sorted(totals, key=lambda one: (totals[one], one)))}
    chances = generator.permutation(len(image_ids))

    def place(position: int) -> tuple[int, int, int]:
        categories = objects[image_ids[position]]
        rarest = min((strata[category] for category in categories), default=len(strata))
        return rarest, len(categories), int(chances[position])

    count = len(image_ids)
    offset = int(generator.integers(count))
    chosen = set()
    for turn, position in enumerate(sorted(range(count), key=place), start=offset):
        if (turn + 1) * val_count // count > turn * val_count // count:
            chosen.add(image_ids[position])
    return chosen


def _part(content: Json, image_ids: set[int]) -> Json:
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
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
        for path, partial in aside.items():
            partial.chmod(0o644)
            partial.replace(path)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be written: {error.strerror}") from error
    finally:
        for partial in aside.values():
            partial.unlink(missing_ok=True)
