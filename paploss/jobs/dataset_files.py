"""Whether the files that a request names are there: annotation files and image folders of every split, and weights."""

import errno
import os
from collections.abc import Callable, Collection
from pathlib import Path

from paploss.jobs.spec import DatasetSpec
from paploss.jobs.suggestions import did_you_mean


def find_missing(dataset: DatasetSpec, weights: str | None) -> dict[str, str]:
    """What is wrong by the request's field, such as `dataset.val.annotations`; empty where all is there.

    Only paths are looked at, no contents. Names beside a missing one are suggested from inside the data set alone.

    Raises:
        OSError: something cannot be looked at, for instance in a folder that is closed to this user.
    """
    missing: dict[str, str] = {}
    if weights is not None and not _is(Path.is_file, Path(weights)):
        missing["weights"] = f"{weights}: no such file"
    if not dataset.root:
        return missing
    root = Path(dataset.root)
    if not _is(Path.is_dir, root):
        return missing | {"dataset.root": f"{root}: no such folder"}
    splits = {name: split for name in ("train", "val", "test") if (split := getattr(dataset, name)) is not None}
    taken = {split.annotations for split in splits.values()}
    for name, split in splits.items():
        if not _is(Path.is_file, file := root / split.annotations):
            missing[f"dataset.{name}.annotations"] = f"{file}: no such file{_suggest(file, root, taken)}"
        if not _is(Path.is_dir, folder := root / split.images):
            missing[f"dataset.{name}.images"] = f"{folder}: no such folder{_suggest(folder, root)}"
    return missing


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    try:
        return kind(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # there can be none of this name
            return False
        raise


def _suggest(path: Path, root: Path, taken: Collection[str] | None = None) -> str:
    """The folder beside `path` that has a name like it; with `taken`, a file that no other split names."""
    is_folder = taken is None
    try:
        beside = _names_in(path.parent, root, is_folder=is_folder)
    except OSError:
        return ""
    names = {str((path.parent / name).relative_to(root)) for name in beside if Path(name).suffix == path.suffix}
    return did_you_mean(str(path.relative_to(root)), names.difference(taken or ()))


def _names_in(folder: Path, root: Path, *, is_folder: bool) -> list[str]:
    """Folders or files in `folder`, where that lies in `root`: what was opened is asked, because a link to elsewhere
    may take its place at any moment."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not Path(os.readlink(f"/proc/self/fd/{handle}")).is_relative_to(root.resolve()):
            return []
        with os.scandir(handle) as entries:
            return [each.name for each in entries if not each.is_symlink() and each.is_dir() == is_folder]
    finally:
        os.close(handle)
