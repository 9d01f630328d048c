"""A data set in whatever layout, read: images with their objects, by part."""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from paploss.trainer.datasets.image_files import IMAGE_SUFFIXES, ImageFacts, read_images

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledObject:
    """One object; its box as COCO has it, in pixels."""

    label: int
    """Position of its class in the data set's."""
    box: tuple[float, float, float, float]
    crowd: bool = False
    area: float | None = None
    """Of its outline, in px^2, where that is known."""


@dataclass(frozen=True)
class LabelledImage:
    """One image with its objects."""

    file: Path
    width: int
    height: int
    objects: tuple[LabelledObject, ...]


@dataclass(frozen=True)
class LabelledSet:
    """A data set that was read."""

    layout: str
    """For people, e.g. "Pascal VOC"."""
    parts: dict[str, list[LabelledImage]]
    """Of PARTS, those that there are."""
    classes: tuple[str, ...]
    """By label."""
    empty_boxes: int = 0
    """Left out: without an area there is nothing to find."""
    notes: tuple[str, ...] = field(default=())
    """What was not as expected, in sentences."""

    def images(self) -> Iterator[LabelledImage]:
        """Of all parts."""
        for part in self.parts.values():
            yield from part


def part_of(name: str) -> str | None:
    """Which part a file or folder of this name belongs to: `instances_train2017` to train, `valid` to val.

    Words of the name are looked at first, so that `valves_train` belongs to train, then its letters: `minival`.
    """
    lowered = name.lower()
    named = set(re.findall("[a-z]+", lowered))
    found = [part for part, words in _WORDS.items() if words & named] or [part for part in _WORDS if part in lowered]
    return found[0] if len(found) == 1 else None


_WORDS = {
    "train": {"train", "training"},
    "val": {"val", "valid", "validation", "dev"},
    "test": {"test", "testing"},
}


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files below `folder` with one of the suffixes in any case, sorted; folders that are linked to are entered.

    Hidden files and folders are left out: macOS, Jupyter and network drives put copies of images and texts there.
    """
    found: list[Path] = []
    entered: set[tuple[int, int]] = set()
    open_folders = [str(folder)]
    for top in open_folders:  # links come last: what they lead to may have been entered by its own name
        for place, folders, names in os.walk(top):
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in entered:
                folders.clear()
                continue
            entered.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            open_folders += [path for name in folders if os.path.islink(path := os.path.join(place, name))]
            files = (Path(place, name) for name in names if not name.startswith("."))
            found += [file for file in files if file.suffix.lower() in suffixes]
    return sorted(found)


class ImageIndex:
    """Images in folders by name without suffix; what labelling tools and macOS leave beside them is none."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[Path]]] = {}

    def find(self, folder: Path, stem: str) -> list[Path]:
        """Those named `stem` in `folder`; none where there is no such folder."""
        if folder not in self._folders:
            images: dict[str, list[Path]] = {}
            for file in sorted(folder.iterdir()) if folder.is_dir() else ():
                if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("._"):
                    images.setdefault(file.stem, []).append(file)
            self._folders[folder] = images
        return self._folders[folder].get(stem, [])


def facts_of(files: list[Path], cache: Path | None) -> dict[Path, ImageFacts]:
    """What is known of image files, by path; see `read_images`."""
    by_folder: dict[Path, list[str]] = {}
    for file in dict.fromkeys(files):
        by_folder.setdefault(file.parent, []).append(file.name)
    facts: dict[Path, ImageFacts] = {}
    for folder, names in by_folder.items():
        facts |= {folder / name: one for name, one in zip(names, read_images(folder, names, cache), strict=True)}
    return facts
