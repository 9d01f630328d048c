"""YOLO: a text file for each image, a line for each object: `class x y width height`, the box by its centre and size,
as parts of the image.

    data.yaml (Ultralytics, Roboflow)           path, train, val, test: folders or lists of images; names
    obj.data (darknet, CVAT)                    train, valid: lists of images; names: a file
    classes.txt or obj.names (LabelImg, Label Studio)   names; images and texts side by side, or images/ and labels/

The text of an image lies beside it, or in a folder `labels` in place of `images`. An image without one shows nothing.
Polygons become the boxes around them.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from paploss.trainer.datasets.box_formats import find_other_parts
from paploss.trainer.datasets.findings import Findings
from paploss.trainer.datasets.image_files import IMAGE_SUFFIXES, ImageFacts
from paploss.trainer.datasets.layouts.labelled import (
    PARTS,
    LabelledImage,
    LabelledObject,
    LabelledSet,
    facts_of,
    files_below,
    part_of,
)
from paploss.trainer.datasets.layouts.texts import read_bytes, read_lines, read_numbered_lines
from paploss.trainer.errors import UserError

ROTATED_NUMBERS = 8
SLACK = 0.01
"""How far coordinates may lie outside 0 and 1, in parts of the image: tools round."""


@dataclass(frozen=True)
class _Description:
    """What says where the images are and what the classes are called."""

    images: dict[str, list[Path]]
    """By part."""
    names: dict[int, str]
    keypoint_columns: int = 0
    """Numbers behind each box that belong to keypoints."""
    notes: tuple[str, ...] = ()
    """What was not as expected, in sentences."""


@dataclass
class _Numbers:
    """What the lines of a data set have behind their classes."""

    counts: set[int] = field(default_factory=set)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    """The first four of those that are boxes; outlines may be long, and are not kept."""


def is_yolo(folder: Path) -> bool:
    """Whether `folder` has what names the classes of a YOLO data set."""
    return _find_description(folder) is not None


def read_yolo(folder: Path, cache: Path | None) -> LabelledSet:
    """The YOLO data set in `folder`.

    Args:
        folder: see above.
        cache: folder for what was read of images.

    Raises:
        UserError: something is missing or is not YOLO's; the message names the file and the line.
    """
    description = _describe(folder)
    if not any(description.images.values()):
        raise UserError(f"{folder}: expected images, there is none in what its description names")
    facts = facts_of([image for part in description.images.values() for image in part], cache)
    findings = Findings()
    parts: dict[str, list[LabelledImage]] = {}
    numbers = _Numbers()
    empty = 0
    for part, images in description.images.items():
        parts[part] = []
        for image in images:
            known = facts[image]
            if known.problem:
                message = f"{image}: cannot be read as an image: {known.problem}"
                findings.error("", f"{{count}} images in {image.parent} cannot be used", message)
                continue
            if known.orientation > 4 and known.width != known.height:  # others, the check of the data set tells
                turned = "{count} images are turned by their EXIF orientation: boxes have to fit them then"
                findings.warning(image.parent, turned, image.name)
            objects = list(_read_objects(label_file(image), known, description, numbers, findings))
            kept = tuple(one for one in objects if min(one.box[2:]) > 0)
            empty += len(objects) - len(kept)
            parts[part].append(LabelledImage(image, known.width, known.height, kept))
    if numbers.counts == {ROTATED_NUMBERS}:
        findings.error(folder, "every object has eight numbers: rotated boxes (YOLO OBB) cannot be trained on")
    findings.raise_errors()
    if fault := find_other_parts(numbers.boxes):
        raise UserError(f"{folder}: {fault}")
    if not any(image.objects for part in parts.values() for image in part):
        first = next(image for images in description.images.values() for image in images)
        raise UserError(f"{folder}: expected at least one object, there is none, for example in {label_file(first)}")
    last = max(description.names, default=-1)
    classes = tuple(description.names.get(label, f"class {label}") for label in range(last + 1))
    return LabelledSet("YOLO", parts, classes, empty, (*description.notes, *findings.warnings()))


def label_file(image: Path) -> Path:
    """Where the objects of an image are: its text beside it, or in `labels` where its path has `images` last."""
    beside = image.with_suffix(".txt")
    places = [place for place, name in enumerate(image.parts) if name == "images"]
    if places and not beside.exists():
        return Path(*image.parts[: places[-1]], "labels", *image.parts[places[-1] + 1 :]).with_suffix(".txt")
    return beside


def _find_description(folder: Path) -> Path | None:
    patterns = ("data.yaml", "dataset.yaml", "data.yml", "*.yaml", "*.yml", "obj.data", "*.data")
    for pattern in (*patterns, "classes.txt", "obj.names", "*/classes.txt", "*/obj.names"):
        for file in sorted(folder.glob(pattern)):
            if file.suffix not in (".yaml", ".yml") or _is_description(file):
                return file
    return None


def _is_description(file: Path) -> bool:
    try:
        content = yaml.safe_load(file.read_bytes())
    except OSError:
        return False
    except (yaml.YAMLError, UnicodeError):
        return file.stem in ("data", "dataset")  # whose fault is told where it is read
    return isinstance(content, dict) and "names" in content and ("train" in content or "val" in content)


def _describe(folder: Path) -> _Description:
    file = _find_description(folder)
    if file is None:
        raise UserError(f"{folder}: expected data.yaml, obj.data or classes.txt with the names of classes")
    if file.suffix in (".yaml", ".yml"):
        return _describe_yaml(file)
    if file.suffix == ".data":
        return _describe_darknet(file)
    images = _find_images(folder)
    if not images:
        raise UserError(f"{folder}: expected images beside {file}")
    return _Description(images, read_numbered_lines(file))


def _find_images(folder: Path) -> dict[str, list[Path]]:
    """Images below `folder` by the part that a folder on the way is named for; without one, for training.

    Links to one image, as a conversion makes them in `images/`, are left out where they have no text and another has
    one; where none has, the image counts once, where possible in a part.
    """
    links: dict[object, list[tuple[str | None, Path]]] = {}
    for file in files_below(folder, IMAGE_SUFFIXES):
        inside = file.relative_to(folder).parts[:-1]
        part = next((found for name in inside if (found := part_of(name))), None)
        links.setdefault(_identity(file), []).append((part, file))
    images: dict[str, list[Path]] = {}
    for linked in links.values():
        labelled = [one for one in linked if label_file(one[1]).exists()] if len(linked) > 1 else linked
        for part, file in labelled or [max(linked, key=lambda one: one[0] is not None)]:
            images.setdefault(part or "train", []).append(file)
    return {part: images[part] for part in PARTS if part in images}


def _identity(file: Path) -> object:
    try:
        status = file.stat()
    except OSError:  # which is told where the image is read
        return file
    return status.st_dev, status.st_ino


def _describe_yaml(file: Path) -> _Description:
    try:
        content: dict[str, Any] = yaml.safe_load(read_bytes(file))
    except (yaml.YAMLError, UnicodeError) as error:
        raise UserError(f"{file}: not valid YAML: {error}") from error
    names = content["names"]
    numbered = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(numbered, dict) or not all(isinstance(key, int) and key >= 0 for key in numbered):
        raise UserError(f"{file}: names: expected a list, or texts by number, got {names!r}")
    root = Path(str(content.get("path") or ""))
    # Not Path.is_dir and the like, here and below: of another machine's folders, such as /root, some are closed here.
    # Without `..`: images are named by their paths below the data set.
    root = Path(os.path.normpath(file.parent / root)) if os.path.isdir(file.parent / root) else file.parent
    images: dict[str, list[Path]] = {}
    named: dict[Path, str] = {}
    notes: list[str] = []
    for part in PARTS:
        given = content.get(part) or (content.get("valid") if part == "val" else None)
        entries = [str(entry) for entry in (given if isinstance(given, list) else [given])] if given else []
        for entry in entries:
            place = _resolve(root, entry)
            if place is None and part == "test":  # which Roboflow names whether it is there or not
                notes.append(f"{file}: test: {entry!r} is not there, below {root}")
                continue
            if place is None:
                raise UserError(f"{file}: {entry!r} is not there, below {root}")
            images.setdefault(part, []).extend(_images_of(place, root))
            first = named.setdefault(place, entry)
            if PurePosixPath(first) != PurePosixPath(entry):  # `train/images` and `val/images` where only `images` is
                raise UserError(f"{file}: {first!r} and {entry!r} both lead to {place}: one of them is not there")
    shape = content.get("kpt_shape")
    keypoints = shape[0] * shape[1] if isinstance(shape, list) and len(shape) == 2 else 0
    return _Description(images, {number: str(name) for number, name in numbered.items()}, keypoints, tuple(notes))


def _images_of(place: Path, root: Path) -> list[Path]:
    """Images of a folder, or in a list, that a description names."""
    return files_below(place, IMAGE_SUFFIXES) if place.is_dir() else _read_list(place, root)


def _read_list(file: Path, root: Path) -> list[Path]:
    images = []
    for line in read_lines(file, lambda lines: all(_resolve(root, line) for line in lines)):
        image = _resolve(root, line) or _resolve(file.parent, line)
        if image is None:
            raise UserError(f"{file}: {line!r} is not there, below {root}")
        images.append(image)
    if not images:
        raise UserError(f"{file}: expected at least one image")
    return images


def _resolve(root: Path, entry: str) -> Path | None:
    """What a path in a description means: below `root`, whatever other machine's folders it begins with."""
    entry = entry.strip().replace("\\", "/")
    if os.path.isabs(entry) and os.path.exists(entry):
        return Path(entry)
    parts = [part for part in PurePosixPath(entry).parts if part not in ("/", "..")]
    for start in range(len(parts)):
        found = root.joinpath(*parts[start:])
        if os.path.exists(found):
            return found
    return root if not parts else None


def _describe_darknet(file: Path) -> _Description:
    pairs = (line.partition("=") for line in read_lines(file) if not line.startswith("#"))
    settings = {key.strip(): value.strip() for key, _, value in pairs}
    names = _resolve(file.parent, settings.get("names", "")) if settings.get("names") else None
    if names is None or names.is_dir():
        raise UserError(f"{file}: names: expected a file of class names, got {settings.get('names')!r}")
    images = {}
    for part, key in (("train", "train"), ("val", "valid"), ("test", "test")):
        listed = _resolve(file.parent, settings[key]) if settings.get(key) else None
        if listed is not None and listed.is_file():
            images[part] = _read_list(listed, file.parent)
    if not images:
        raise UserError(f"{file}: train: expected a list of images, got {settings.get('train')!r}")
    return _Description(images, read_numbered_lines(names))


def _read_objects(
    file: Path, image: ImageFacts, description: _Description, numbers: _Numbers, findings: Findings
) -> Iterator[LabelledObject]:
    """The objects in the text of an image; `numbers` takes those of each."""
    try:
        is_there = file.exists()
    except OSError as error:  # not taken for an image that shows nothing
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    if not is_there:
        return
    for number, line in read_numbered_lines(file).items():
        where = f"{file.name}, line {number + 1}"
        try:
            label, *values = (float(word) for word in line.split())
        except ValueError:
            label, values = -1.0, []
        numbers.counts.add(len(values))
        if _is_box(values, description):
            numbers.boxes.append(tuple(values[:4]))
        fault = _find_fault(label, values, description)
        if fault:
            findings.error(file.parent, "{count} objects are faulty", f"{where}: {fault}, got {line[:80]!r}")
            continue
        x, y, width, height = _box_of(values, description)
        box = (x * image.width, y * image.height, width * image.width, height * image.height)
        yield LabelledObject(int(label), box)


def _find_fault(label: float, values: Sequence[float], description: _Description) -> str:
    is_box = _is_box(values, description)
    if not is_box and (len(values) < 6 or len(values) % 2):
        return "expected a class and four numbers, or a class and the points of an outline"
    if not label.is_integer() or int(label) not in description.names:
        return f"expected a class of {len(description.names)}, from 0"
    if not all(isfinite(value) for value in values):
        return "expected finite numbers"
    if not all(-SLACK <= value <= 1 + SLACK for value in (values[:4] if is_box else values)):
        return "expected parts of the image, from 0 to 1"
    return ""


def _is_box(values: Sequence[float], description: _Description) -> bool:
    return len(values) in (4, 4 + description.keypoint_columns)


def _box_of(values: Sequence[float], description: _Description) -> tuple[float, float, float, float]:
    """Left, top, width and height as parts of the image, inside it."""
    if _is_box(values, description):
        x, y, width, height = values[:4]
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    else:
        left, top, right, bottom = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in (left, top, right, bottom))
    return left, top, right - left, bottom - top
