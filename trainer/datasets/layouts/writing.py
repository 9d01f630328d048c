"""Writing a data set as COCO: train.json, val.json, test.json and images/."""

import filecmp
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paploss.files import whole_file
from paploss.trainer.datasets.layouts.labelled import LabelledImage, LabelledSet
from paploss.trainer.errors import UserError, blame_machine

Json = dict[str, Any]


def write_coco(data: LabelledSet, folder: Path, output: Path, overwrite: bool = False) -> Json:
    """Writes a JSON file for each part and the images into `images/`, all below `output`.

    Images are linked, and copied only to another file system. They keep their names, and their folders below `folder`
    where two have one name.

    Returns:
        What was written, for people and programs: each part's file with its images and objects, the classes in the
        order of their numbers, and how many boxes without an area were left out.

    Raises:
        UserError: an image cannot be read, or something lies in the way. Nothing has been written then, but perhaps
            images.
    """
    files = {part: output / f"{part}.json" for part in data.parts}
    for file in files.values():
        if file.exists() and not overwrite:
            raise UserError(f"{file}: exists already; move it away, or overwrite it with --overwrite")
    names = _name_images([image.file for image in data.images()], folder)
    try:
        for source, name in names.items():
            _place_image(source, output / "images" / name)
        for part, file in files.items():
            with whole_file(file) as opened:
                opened.write(json.dumps(as_coco(data.parts[part], data.classes, names)).encode())
    except OSError as error:
        place = error.filename2 or error.filename or output  # where a copy fails, the second is the target
        raise UserError(f"{place}: cannot be written: {error.strerror}") from error
    return {
        "parts": {
            part: {"file": str(file), "images": len(data.parts[part]), "objects": _count_objects(data.parts[part])}
            for part, file in files.items()
        },
        "classes": list(data.classes),
        "empty_boxes": data.empty_boxes,
    }


def as_coco(images: Sequence[LabelledImage], classes: Sequence[str], names: Mapping[Path, str]) -> Json:
    """The content of a COCO file. `names`: what each image is called in it."""
    content: Json = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
    }
    for image_id, image in enumerate(images, 1):
        content["images"].append(
            {"id": image_id, "file_name": names[image.file], "width": image.width, "height": image.height}
        )
        for one in image.objects:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": one.label + 1,
                    "bbox": list(one.box),
                    "area": one.box[2] * one.box[3] if one.area is None else one.area,
                    "iscrowd": int(one.crowd),
                }
            )
    return content


def _count_objects(images: Sequence[LabelledImage]) -> int:
    return sum(len(image.objects) for image in images)


def _name_images(files: Sequence[Path], folder: Path) -> dict[Path, str]:
    distinct = list(dict.fromkeys(files))
    counts = Counter(file.name for file in distinct)
    if all(count == 1 for count in counts.values()):
        return {file: file.name for file in distinct}
    return {
        file: file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.as_posix().lstrip("/")
        for file in distinct
    }


def _place_image(source: Path, target: Path) -> None:
    try:
        found = source.resolve(strict=True)
        is_file = found.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # missing, closed, an impossible name, a link to itself
        blame_machine(source, error)
        raise UserError(f"{source}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not is_file:
        raise UserError(f"{source}: cannot be read: it is no file")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        if not filecmp.cmp(source, target, shallow=False):
            raise UserError(f"{target}: another image than {source} lies there; choose another --output")
        return
    try:
        os.link(found, target)
    except OSError:  # another file system, or one without links
        try:
            shutil.copyfile(source, target)
        except BaseException:
            target.unlink(missing_ok=True)  # a part would be taken for another image the next time
            raise
