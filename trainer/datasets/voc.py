"""From Pascal VOC to COCO: `python -m paploss.trainer.datasets.voc FOLDER`, which `paploss convert-voc` runs.

    FOLDER/ImageSets/Main/{train,val,test}.txt    names of the images of each part, one a line
    FOLDER/Annotations/NAME.xml                   size and objects of an image
    FOLDER/JPEGImages/NAME.*                      the image

A box keeps its corners: x, y, width and height are xmin, ymin, xmax - xmin and ymax - ymin. Where a tool counted
pixels from 1 and included the last, as VOC's own, its boxes lose a pixel at the left and at the top. Objects marked
as difficult become COCO's crowds: neither right nor wrong to find. Classes are numbered by how often they occur.
"""

import argparse
import filecmp
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from xml.etree import ElementTree  # expat bounds what entities expand to, and loads none from elsewhere

from paploss.files import whole_file
from paploss.trainer.datasets.coco import Json
from paploss.trainer.errors import UserError

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class VocObject:
    """One labelled object; its box as COCO has it, in pixels."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class VocImage:
    """One annotation file with its image."""

    image: Path
    width: int
    height: int
    objects: tuple[VocObject, ...]
    empty_boxes: int
    """Left out: without an area there is nothing to find."""


def convert_voc(folder: Path, output: Path, overwrite: bool = False) -> Json:
    """Writes `train.json`, `val.json` and `test.json`, as far as `folder` has these parts, and their images into
    `images/`, all below `output`. Images are linked, and copied only to another file system.

    Returns:
        What was written, for people and programs: each part's file with its images and objects, the classes in the
        order of their numbers, and how many boxes without an area were left out.

    Raises:
        UserError: something is missing, is not VOC's, or lies in the way; the message names the file and the value.
            Nothing has been written then, but perhaps images.
    """
    found = _find_images(folder / "JPEGImages")
    parts = {
        part: [_read_image(folder, name, found.get(name, [])) for name in names]
        for part, names in _read_parts(folder).items()
    }
    images = [image for part in parts.values() for image in part]
    counts = Counter(one.name for image in images for one in image.objects)
    classes = sorted(counts, key=lambda name: (-counts[name], name))
    if not classes:
        raise UserError(f"{folder / 'Annotations'}: expected at least one object, there is none")
    files = {part: output / f"{part}.json" for part in parts}
    for file in files.values():
        if file.exists() and not overwrite:
            raise UserError(f"{file}: exists already; move it away, or ask to overwrite it")
    try:
        _place_images(images, output / "images")
        for part, file in files.items():
            with whole_file(file) as opened:
                opened.write(json.dumps(_as_coco(parts[part], classes)).encode())
    except OSError as error:
        raise UserError(f"{error.filename or output}: cannot be written: {error.strerror}") from error
    return {
        "parts": {
            part: {"file": str(file), "images": len(parts[part]), "objects": sum(len(i.objects) for i in parts[part])}
            for part, file in files.items()
        },
        "classes": classes,
        "empty_boxes": sum(image.empty_boxes for image in images),
    }


def _read_parts(folder: Path) -> dict[str, list[str]]:
    """Names by part; an image belongs to one."""
    sets = folder / "ImageSets" / "Main"
    parts: dict[str, list[str]] = {}
    owner: dict[str, Path] = {}
    for part in PARTS:
        file = sets / f"{part}.txt"
        if not file.exists():
            continue
        parts[part] = [line.strip() for line in _read(file).decode(errors="replace").splitlines() if line.strip()]
        for name in parts[part]:
            if Path(name).name != name:
                raise UserError(f"{file}: expected names of images without folder and suffix, got {name!r}")
            if name in owner:
                raise UserError(f"{file}: {name!r} is in {owner[name].name} already")
            owner[name] = file
        if not parts[part]:
            raise UserError(f"{file}: expected at least one image")
    if not parts:
        raise UserError(f"{sets}: expected train.txt, val.txt or test.txt, the lists of a Pascal VOC data set")
    return parts


def _find_images(folder: Path) -> dict[str, list[Path]]:
    """Images by name without suffix."""
    images: dict[str, list[Path]] = {}
    try:
        for path in sorted(folder.iterdir()):
            images.setdefault(path.stem, []).append(path)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    return images


def _read_image(folder: Path, name: str, found: list[Path]) -> VocImage:
    file = folder / "Annotations" / f"{name}.xml"
    try:
        root = ElementTree.fromstring(_read(file))  # noqa: S314 (see the import)
    except ElementTree.ParseError as error:
        raise UserError(f"{file}: not XML: {error}") from error
    if len(found) != 1:
        raise UserError(f"{folder / 'JPEGImages'}: expected one image {name}.*, found {len(found)}")
    width, height = (_number(file, root, f"size/{side}") for side in ("width", "height"))
    if not all(side > 0 and side.is_integer() for side in (width, height)):
        raise UserError(f"{file}: size: expected whole numbers above 0, got {width:g} x {height:g}")
    objects = [
        _read_object(f"{file}: object {number}", element, width, height)
        for number, element in enumerate(root.findall("object"), 1)
    ]
    kept = tuple(one for one in objects if one.box[2] > 0 and one.box[3] > 0)
    return VocImage(found[0], int(width), int(height), kept, len(objects) - len(kept))


def _read_object(where: str, element: ElementTree.Element, width: float, height: float) -> VocObject:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{where}: name: expected a class, got nothing")
    x1, y1, x2, y2 = (_number(where, element, f"bndbox/{end}") for end in ("xmin", "ymin", "xmax", "ymax"))
    box = f"{x1:g}, {y1:g}, {x2:g}, {y2:g}"
    if x2 < x1 or y2 < y1:
        raise UserError(f"{where}: bndbox: expected xmin <= xmax and ymin <= ymax, got {box}")
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        raise UserError(f"{where}: bndbox: {box} is outside its image of {width:g} x {height:g} px")
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise UserError(f"{where}: difficult: expected 0 or 1, got {difficult!r}")
    return VocObject(name, (x1, y1, x2 - x1, y2 - y1), difficult == "1")


def _number(where: object, element: ElementTree.Element, path: str) -> float:
    text = element.findtext(path)
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise UserError(f"{where}: {path}: expected a number, got {text!r}")
    return value


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error


def _place_images(images: Iterable[VocImage], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for source in (image.image for image in images):
        target = folder / source.name
        if target.exists():
            if not filecmp.cmp(source, target, shallow=False):
                raise UserError(f"{target}: another image than {source} lies there; choose another --output")
            continue
        try:
            os.link(source.resolve(), target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)


def _as_coco(images: Iterable[VocImage], classes: Iterable[str]) -> Json:
    ids = {name: number for number, name in enumerate(classes, 1)}
    content: Json = {"images": [], "annotations": [], "categories": [{"id": ids[name], "name": name} for name in ids]}
    for image_id, image in enumerate(images, 1):
        content["images"].append(
            {"id": image_id, "file_name": image.image.name, "width": image.width, "height": image.height}
        )
        for one in image.objects:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": ids[one.name],
                    "bbox": list(one.box),
                    "area": one.box[2] * one.box[3],
                    "iscrowd": int(one.difficult),
                }
            )
    return content


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m paploss.trainer.datasets.voc", description="Convert Pascal VOC to COCO."
    )
    parser.add_argument("folder", type=Path, help="holds Annotations, ImageSets and JPEGImages")
    parser.add_argument("--output", type=Path, help="folder for the COCO files and images/ (FOLDER)")
    parser.add_argument("--overwrite", action="store_true", help="replace COCO files that exist")
    arguments = parser.parse_args()
    try:
        written = convert_voc(arguments.folder, arguments.output or arguments.folder, arguments.overwrite)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(written) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
