"""COCO in the folders of COCO itself and of the tools that export it.

annotations/instances_PART2017.json, PART2017/      COCO
annotations/instances_default.json, images/         CVAT
PART/_annotations.coco.json beside the images       Roboflow
result.json, images/                                Label Studio
labels.json, data/                                  FiftyOne
PART.json, images/                                  this program
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from paploss.trainer.datasets.check import match_categories
from paploss.trainer.datasets.coco import KEYS, CocoSplit, Json, checked_split, read_json
from paploss.trainer.datasets.findings import Findings
from paploss.trainer.datasets.layouts.labelled import (
    PARTS,
    LabelledImage,
    LabelledObject,
    LabelledSet,
    files_below,
    part_of,
)
from paploss.trainer.errors import UserError

FIRST = 20
"""So many images are looked for to find out in which folder they lie."""
DEEPEST = 3


@dataclass(frozen=True)
class CocoPart:
    """One annotation file with its images."""

    annotation_file: Path
    image_folder: Path


def find_coco(folder: Path) -> dict[str, CocoPart]:
    """The annotation files below `folder` by part; none where it is in another layout.

    Raises:
        UserError: several files claim a part, the images of one are not to be found, or the only file that is named for
            a part cannot be read.
    """
    images: dict[Path, list[Json]] = {}
    unreadable: dict[str, Path] = {}
    for file in files_below(folder, {".json"}):
        if len(file.relative_to(folder).parts) > DEEPEST:
            continue
        try:
            first = _first_images(file)
        except (OSError, ValueError, RecursionError):
            if (part := _named_part(file, folder)) is not None:
                unreadable.setdefault(part, file)
            continue
        if first is not None:
            images[file] = first
    claims: dict[str, list[Path]] = {}
    for file in images:
        claims.setdefault(_named_part(file, folder) or "train", []).append(file)
    for part, file in unreadable.items():
        if images and part not in claims:  # it would be missing without a word
            read_json(file)
    claims = _without_overlap(claims)
    parts = {}
    for part in (part for part in PARTS if part in claims):
        nearest = min(len(file.parts) for file in claims[part])  # deeper lies what was made of it
        file = _choose([file for file in claims[part] if len(file.parts) == nearest], part)
        parts[part] = CocoPart(file, find_image_folder(folder, file, images[file], part))
    return parts


def _first_images(file: Path) -> list[Json] | None:
    """The first images of a JSON file; None where it is not COCO's, or lists images without annotations, as COCO's
    `image_info_test2017.json`. The rest is not kept: it may be gigabytes."""
    content = json.loads(file.read_bytes())
    if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS):
        return list(content["images"][:FIRST])
    return None


def _named_part(file: Path, folder: Path) -> str | None:
    """The part that a file below `folder` is named for, or lies in a folder named for it."""
    return part_of(file.stem) or part_of(file.relative_to(folder).parent.name)


def _without_overlap(claims: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """The original files, or both that `paploss split` made of the training set where there is no other validation set.

    One of them beside an original would have images twice.
    """
    split = {part: [file for file in files if file.name.startswith("search_")] for part, files in claims.items()}
    original = {part: [file for file in files if file not in split[part]] for part, files in claims.items()}
    if not original.get("val") and split.get("train") and split.get("val"):
        original |= {"train": split["train"], "val": split["val"]}
    return {part: files or claims[part] for part, files in original.items()}


def _choose(files: list[Path], part: str) -> Path:
    """The file of a part among several: COCO's boxes rather than its captions."""
    boxes = [file for file in files if file.name.startswith("instances")] or files
    if len(boxes) > 1:
        names = ", ".join(str(file) for file in boxes[:5])
        raise UserError(f"{boxes[0].parent}: several files may be of the split {part!r}, name one: {names}")
    return boxes[0]


def find_image_folder(root: Path, file: Path, images: list[Json], part: str) -> Path:
    """The folder that the file names of a COCO file begin from; of several, one that is named for its part.

    Raises:
        UserError: in no folder that may be meant there is an image of these names.
    """
    names = [str(image.get("file_name", "")).replace("\\", "/") for image in images[:FIRST] if isinstance(image, dict)]
    stem = file.stem.removeprefix("instances_")
    named = (
        *(file.parent / name for name in (stem, part, "")),
        *(root / name for name in (stem, part, "images", f"images/{stem}", f"images/{part}", "data", "img", "")),
        *(file.parent / name for name in ("images", "data")),
    )
    # os.path where Path would raise: a folder may be closed to this user, and a name longer than a file's can be.
    likely = (*named, *(path for path in sorted(root.iterdir()) if os.path.isdir(path)))
    counts = {place: sum(os.path.isfile(place / name) for name in names if name) for place in likely}
    # Parts often number their images alike: each name is then in the folders of all of them.
    best = max(counts, key=lambda place: (counts[place], part_of(place.name) == (part_of(part) or "train")))
    if counts[best] < len(names):
        for place in named:
            if os.path.isdir(place) and not os.access(place, os.R_OK | os.X_OK):
                raise UserError(f"{place}: cannot be read: permission denied (images of {file} may be in it)")
    if names and not counts[best]:
        raise UserError(f"{file}: its images are not to be found below {root}, for example {names[0]!r}")
    return best


def read_coco(parts: dict[str, CocoPart]) -> LabelledSet:
    """A COCO data set that `find_coco` has found, as what `write_coco` takes.

    Raises:
        UserError: a file is not COCO's, or the parts have different categories.
    """
    findings = Findings()
    splits = {
        name: checked_split(read_json(part.annotation_file), part.annotation_file, part.image_folder, findings)
        for name, part in parts.items()
    }
    first, *others = splits.values()
    for split in others:
        match_categories(split, first, findings)
    findings.raise_errors()
    return LabelledSet(
        "COCO",
        {name: _labelled(split, first) for name, split in splits.items()},
        first.classes,
        notes=findings.warnings(),
    )


def _labelled(split: CocoSplit, first: CocoSplit) -> list[LabelledImage]:
    labels = first.labels
    objects: dict[int, list[LabelledObject]] = {image["id"]: [] for image in split.images}
    for one in split.annotations:
        label, crowd = labels[one["category_id"]], bool(one["iscrowd"])
        objects[one["image_id"]].append(LabelledObject(label, tuple(one["bbox"]), crowd, one["area"]))
    return [
        LabelledImage(
            split.image_folder / image["file_name"], image["width"], image["height"], tuple(objects[image["id"]])
        )
        for image in split.images
    ]
