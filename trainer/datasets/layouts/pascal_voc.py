"""Pascal VOC: one XML file for each image, as VOC's own folders have it and as labelling tools write it.

    FOLDER/ImageSets/Main/{train,val,test}.txt    names of the images of each part, one a line
    FOLDER/Annotations/NAME.xml                   size and objects of an image
    FOLDER/JPEGImages/NAME.*                      the image (Label Studio: images/)

or without lists, with folders named after the parts anywhere (train/Annotations/, Annotations/train/ and
JPEGImages/train/), or XML files beside their images, in FOLDER (LabelImg) or in such folders (Roboflow). `annotations/`
with `images/`, as on Kaggle, is the same.

A box keeps its corners: x, y, width and height are xmin, ymin, xmax - xmin and ymax - ymin. Where a tool counted
pixels from 1 and included the last, as VOC's own, its boxes lose a pixel at the left and at the top. Objects marked
as difficult become COCO's crowds: neither right nor wrong to find. Classes are numbered by how often they occur.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from paploss.trainer.datasets.findings import Findings
from paploss.trainer.datasets.image_files import IMAGE_SUFFIXES, ImageFacts
from paploss.trainer.datasets.layouts.labelled import (
    PARTS,
    ImageIndex,
    LabelledImage,
    LabelledObject,
    LabelledSet,
    facts_of,
    files_below,
    part_of,
)
from paploss.trainer.datasets.layouts.texts import read_lines, read_xml
from paploss.trainer.errors import UserError

ANNOTATION_FOLDERS = ("Annotations", "annotations")
IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs", "img")
FLAGS = ("-1", "0", "1")
"""What lists of one class have behind each name: whether the image shows it."""


@dataclass(frozen=True)
class _Annotation:
    """One XML file with its image."""

    file: Path
    image: Path
    root: ElementTree.Element


def read_voc(folder: Path, cache: Path | None) -> LabelledSet:
    """The Pascal VOC data set in `folder`.

    Args:
        folder: see above.
        cache: folder for what was read of images.

    Raises:
        UserError: something is missing or is not VOC's; the message names the file and the value.
    """
    index = ImageIndex()
    annotations = {part: [_open(folder, file, index) for file in files] for part, files in _find_parts(folder)}
    facts = facts_of([one.image for part in annotations.values() for one in part], cache)
    findings = Findings()
    boxes = {
        part: [_read_image(one, facts[one.image], findings) for one in part_annotations]
        for part, part_annotations in annotations.items()
    }
    findings.raise_errors()
    counts = Counter(name for part in boxes.values() for _, objects in part for name, _, _ in objects)
    if not counts:
        raise UserError(f"{folder}: expected at least one object, there is none")
    classes = tuple(sorted(counts, key=lambda name: (-counts[name], name)))
    labels = {name: label for label, name in enumerate(classes)}
    empty = 0
    parts: dict[str, list[LabelledImage]] = {}
    for part, read in boxes.items():
        parts[part] = []
        for (file, width, height), objects in read:
            kept = [LabelledObject(labels[name], box, crowd) for name, box, crowd in objects if min(box[2:]) > 0]
            empty += len(objects) - len(kept)
            parts[part].append(LabelledImage(file, width, height, tuple(kept)))
    return LabelledSet("Pascal VOC", parts, classes, empty, findings.warnings())


def _find_parts(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """XML files by part: of the lists, or of the folders that they lie in."""
    annotation_folder = _annotation_folder(folder)
    files = list(_xml_files(annotation_folder or folder))
    sets = folder / "ImageSets" / "Main"
    if annotation_folder is not None and (folder / "ImageSets").is_dir():
        for part, names in _read_lists(sets, annotation_folder).items():
            yield part, [annotation_folder / f"{name}.xml" for name in names]
        return
    if inner := ", ".join(sorted(one.parent.name for one in folder.glob("*/ImageSets"))):
        raise UserError(f"{folder}: expected the folder of one data set, ImageSets with its lists is in {inner}")
    if not files:
        raise UserError(f"{sets}: expected train.txt, val.txt or test.txt, or XML files beside images")
    parts: dict[str, list[Path]] = {}
    for file in files:
        inside = file.relative_to(folder).parts[:-1]
        part = next((found for name in inside if (found := part_of(name))), "train")
        parts.setdefault(part, []).append(file)
    for part in PARTS:
        if part in parts:
            yield part, parts[part]


def _annotation_folder(folder: Path) -> Path | None:
    return next((place for name in ANNOTATION_FOLDERS if (place := folder / name).is_dir()), None)


def _xml_files(folder: Path) -> Iterator[Path]:
    return (file for file in files_below(folder, {".xml"}) if file.name != "annotations.xml")


def _read_lists(sets: Path, annotation_folder: Path) -> dict[str, list[str]]:
    """Names by part; an image belongs to one."""
    known = {file.relative_to(annotation_folder).with_suffix("").as_posix() for file in _xml_files(annotation_folder)}
    lists: dict[str, list[str]] = {}
    owner: dict[str, Path] = {}
    for part, files in _list_files(sets).items():
        names: dict[str, None] = {}
        for file in files:
            for line in read_lines(file, lambda lines: all(_name_in(line, known) in known for line in lines)):
                name = _name_in(line, known)
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise UserError(f"{file}: expected names of images inside the folder, got {line!r}")
                if owner.setdefault(name, file) not in files:
                    raise UserError(f"{file}: {name!r} is in {owner[name].name} already")
                names[name] = None
            if not names:
                raise UserError(f"{file}: expected at least one image")
        lists[part] = list(names)
    if not lists:
        raise UserError(f"{sets}: expected train.txt, val.txt or test.txt, the lists of a Pascal VOC data set")
    return lists


def _list_files(sets: Path) -> dict[str, list[Path]]:
    """Lists by part: those of the parts, else those of each class, else the only one there is."""
    whole = {part: [sets / f"{part}.txt"] for part in PARTS if (sets / f"{part}.txt").exists()}
    if not {"train", "val"} & set(whole) and (sets / "trainval.txt").exists():
        whole = {"train": [sets / "trainval.txt"], **whole}
    texts = sorted(file for file in sets.glob("*.txt") if not file.name.startswith("."))
    by_class = {part: [file for file in texts if file.stem.endswith(f"_{part}")] for part in PARTS}
    by_class = {part: files for part, files in by_class.items() if files}
    return whole or by_class or ({"train": texts} if len(texts) == 1 else {})


def _name_in(line: str, known: set[str]) -> str:
    """The name that a line of a list means: without a class's flag, a suffix and the folder of images."""
    line = line.replace("\\", "/")
    if line in known:
        return line
    words = line.rsplit(maxsplit=1)
    path = PurePosixPath(words[0] if len(words) == 2 and words[1] in FLAGS else line)
    if path.as_posix() not in known and path.suffix.lower() in IMAGE_SUFFIXES | {".xml"}:
        path = path.with_suffix("")
    if path.name in known and not {*IMAGE_FOLDERS, *ANNOTATION_FOLDERS}.isdisjoint(path.parts):
        return path.name
    return path.as_posix()


def _open(folder: Path, file: Path, index: ImageIndex) -> _Annotation:
    root = read_xml(file)
    if root.tag != "annotation":
        raise UserError(f"{file}: expected Pascal VOC's <annotation>, got <{root.tag}>")
    return _Annotation(file, _find_image(folder, file, root, index), root)


def _find_image(folder: Path, file: Path, root: ElementTree.Element, index: ImageIndex) -> Path:
    """The image of an annotation file: of its name in a folder of images, or the one that it names."""
    inside = file.relative_to(folder).parts[:-1]
    depth = next((depth for depth, name in enumerate(inside) if name in ANNOTATION_FOLDERS), None)
    if depth is None:
        places = [file.parent]
    else:
        beside = folder.joinpath(*inside[:depth])
        names = [name for name in IMAGE_FOLDERS if (beside / name).is_dir()]
        places = [beside.joinpath(name, *inside[depth + 1 :]) for name in names or IMAGE_FOLDERS[:1]]
        places += [] if names else [file.parent]
    given = (root.findtext("filename") or "").replace("\\", "/").rpartition("/")[2].strip()
    for place in places:
        found = index.find(place, file.stem)
        if len(found) > 1 and given in (one.name for one in found):
            return place / given
        if len(found) > 1:
            raise UserError(f"{place}: expected one image {file.stem}.*, found {len(found)}")
        if found:
            return found[0]
        if given and os.path.isfile(place / given):  # not Path.is_file: the name may be too long for one
            return place / given
    raise UserError(f"{places[0]}: expected one image {file.stem}.*, found 0")


def _read_image(
    annotation: _Annotation, facts: ImageFacts, findings: Findings
) -> tuple[tuple[Path, int, int], list[tuple[str, tuple[float, float, float, float], bool]]]:
    """Image file, width and height, and the objects: name, box, whether it is difficult."""
    file, root = annotation.file, annotation.root
    if facts.problem:
        findings.warning(
            annotation.image.parent, "{count} images cannot be used", f"{annotation.image.name}: {facts.problem}"
        )
        width, height = (_number(file, root, f"size/{side}") for side in ("width", "height"))
        if not all(side > 0 and side.is_integer() for side in (width, height)):
            raise UserError(f"{file}: size: expected whole numbers above 0, got {width:g} x {height:g}")
    else:
        width, height = float(facts.width), float(facts.height)
        given = [(root.findtext(f"size/{side}") or "0").strip() for side in ("width", "height")]
        if all(text in ("0", "") for text in given):
            findings.warning(file.parent, "{count} files have no size: that of the image was taken", file.name)
        elif [_number(file, root, f"size/{side}") for side in ("width", "height")] != [width, height]:
            turned = f", turned by its EXIF orientation {facts.orientation}" if facts.orientation > 1 else ""
            findings.error(
                file.parent,
                "{count} files have another size than their image",
                f"{file.name}: {given[0]} x {given[1]} px, {annotation.image} has {width:g} x {height:g} px{turned}",
            )
            return (annotation.image, int(width), int(height)), []
    objects = []
    for number, element in enumerate(root.findall("object"), 1):
        try:
            objects.append(_read_object(f"{file}: object {number}", element, width, height))
        except UserError as error:  # told with all others
            findings.error("", f"{{count}} objects in {file.parent} are faulty", str(error))
    return (annotation.image, int(width), int(height)), objects


def _read_object(
    where: str, element: ElementTree.Element, width: float, height: float
) -> tuple[str, tuple[float, float, float, float], bool]:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{where}: name: expected a class, got nothing")
    if element.find("robndbox") is not None:
        raise UserError(f"{where}: robndbox: rotated boxes cannot be trained on; expected a bndbox")
    x1, y1, x2, y2 = (_number(where, element, f"bndbox/{end}") for end in ("xmin", "ymin", "xmax", "ymax"))
    box = f"{x1:g}, {y1:g}, {x2:g}, {y2:g}"
    if x2 < x1 or y2 < y1:
        raise UserError(f"{where}: bndbox: expected xmin <= xmax and ymin <= ymax, got {box}")
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        raise UserError(f"{where}: bndbox: {box} is outside its image of {width:g} x {height:g} px")
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise UserError(f"{where}: difficult: expected 0 or 1, got {difficult!r}")
    return name, (x1, y1, x2 - x1, y2 - y1), difficult == "1"


def _number(where: object, element: ElementTree.Element, path: str) -> float:
    text = element.findtext(path)
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise UserError(f"{where}: {path}: expected a number, got {text!r}")
    return value
