"""Recognising the layout of a folder, and converting it to COCO."""

import re
from collections.abc import Callable
from pathlib import Path

from paploss.trainer.datasets.coco import Json
from paploss.trainer.datasets.layouts.coco_folders import CocoPart, find_coco, read_coco
from paploss.trainer.datasets.layouts.labelled import LabelledSet, files_below
from paploss.trainer.datasets.layouts.pascal_voc import read_voc
from paploss.trainer.datasets.layouts.writing import write_coco
from paploss.trainer.datasets.layouts.yolo import is_yolo, read_yolo
from paploss.trainer.errors import UserError

READERS: dict[str, Callable[[Path, Path | None], LabelledSet]] = {
    "coco": lambda folder, _: read_coco(find_coco(folder)),
    "voc": read_voc,
    "yolo": read_yolo,
}


ROOT = re.compile(rb"<annotation[\s>]")
"""How an annotation file of Pascal VOC begins, whatever its encoding."""


def recognise(folder: Path) -> str:
    """The layout of `folder`, a key of READERS.

    Raises:
        UserError: it is no folder, or in no layout that is known.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if find_coco(folder):
        return "coco"
    if is_yolo(folder):
        return "yolo"
    if (folder / "ImageSets").is_dir() or any(_is_voc(file) for file in files_below(folder, {".xml"})):
        return "voc"
    hint = ""
    if (folder / "annotations.xml").is_file():
        hint = "; annotations.xml is CVAT's own format: export COCO 1.0 there"
    elif any(folder.glob("*.json")):
        hint = "; its JSON files have no lists of images, annotations and categories: in Label Studio, export COCO"
    raise UserError(f"{folder}: neither COCO, Pascal VOC nor YOLO, see docs/how-to/bring-data.md{hint}")


def convert(
    folder: Path, output: Path, layout: str | None = None, *, overwrite: bool = False, cache: Path | None = None
) -> Json:
    """Writes the data set in `folder` as COCO below `output`; see `write_coco`.

    Args:
        folder: in one of the layouts.
        output: where to write.
        layout: a key of READERS; None recognises it.
        overwrite: replace COCO files that exist.
        cache: folder for what was read of images.

    Returns:
        What was written, the layout and what was not as expected.

    Raises:
        UserError: something is missing, is faulty, or lies in the way.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    layout = layout or recognise(folder)
    if layout == "coco":
        parts = find_coco(folder)
        _check_not_replaced(parts, folder, output)
        data = read_coco(parts)
    else:
        data = READERS[layout](folder, cache)
    written = write_coco(data, folder, output, overwrite)
    return {**written, "layout": data.layout, "notes": list(data.notes)}


def _check_not_replaced(parts: dict[str, CocoPart], folder: Path, output: Path) -> None:
    """What an earlier conversion wrote into its own folder says nothing of what was labelled since."""
    for part, found in parts.items():
        if found.annotation_file.resolve() == output.resolve() / f"{part}.json":
            raise UserError(
                f"{found.annotation_file}: would be converted to itself; say with --layout what else in {folder} is to "
                "be converted, or name another --output"
            )


def _is_voc(file: Path) -> bool:
    try:
        return ROOT.search(file.read_bytes()[:2000].replace(b"\0", b"")) is not None
    except OSError:
        return False
