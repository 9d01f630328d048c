"""The operator's data roots: what a request may name lies beneath one of them."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from paploss.client.specs import Request
from paploss.jobs.dataset_files import find_missing
from paploss.jobs.spec import DatasetSpec, Split


class PathRefusedError(ValueError):
    """A request names paths that it may not, or that are not there; `faults` has the reason by field."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {fault}" for field, fault in faults.items()))
        self.faults = dict(faults)


def check_files(request: Request, data_roots: Sequence[Path]) -> None:
    """Refuse a request whose files are not there, as far as this machine sees the data root that they are in.

    Folders that this process may not look into are the workers' affair, like those of other machines.

    Raises:
        PathRefusedError: names every file that is missing, with its field.
    """
    check_paths(request, data_roots)
    here = [root for root in data_roots if _is_here(root)]

    def is_seen(path: str | None) -> bool:
        return path is not None and any(PurePosixPath(path).is_relative_to(root) for root in here)

    try:
        faults = find_missing(
            request.dataset if is_seen(request.dataset.root) else DatasetSpec(),
            request.weights if is_seen(request.weights) else None,
        )
    except PermissionError:
        return
    if faults:
        raise PathRefusedError(faults)


def _is_here(root: Path) -> bool:
    try:
        return any(root.iterdir())
    except OSError:
        return False


def check_paths(request: Request, data_roots: Sequence[Path]) -> None:
    """Refuse a request whose data set or weights lie outside `data_roots`.

    Compares paths only, because they are the workers' and need not exist here.

    Raises:
        PathRefusedError: names the field, the path and the roots.
    """
    for field, path in (("dataset.root", request.dataset.root), ("weights", request.weights)):
        if path:
            _check_path(field, path, data_roots)


def check_roots(roots: Sequence[str], data_roots: Sequence[Path]) -> None:
    """Refuse folders that are to be a project's data roots and lie outside the operator's.

    Raises:
        PathRefusedError: names the path and the operator's roots.
    """
    for root in roots:
        _check_path("data_roots", root, data_roots)


def narrow(data_roots: Sequence[Path], roots: Sequence[str]) -> Sequence[Path]:
    """A project's data roots as far as they still lie within the operator's; all of those where it names none."""
    if not roots:
        return data_roots
    return [root for root in map(Path, roots) if any(root.is_relative_to(outer) for outer in data_roots)]


def _check_path(field: str, path: str, data_roots: Sequence[Path]) -> None:
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        raise PathRefusedError({field: f"expected an absolute path without '..', got {path!r}"})
    if not any(pure.is_relative_to(root) for root in data_roots):
        roots = ", ".join(map(str, data_roots)) or "none (the operator sets PAPLOSS_DATA_ROOTS)"
        raise PathRefusedError({field: f"expected a path beneath one of the data roots: {roots}; got {path!r}"})


MOST_FOLDERS = 500
"""How many folders of a root are looked into."""


def find_datasets(data_roots: Sequence[Path]) -> list[DatasetSpec]:
    """The data sets in the roots, or that are roots, as `paploss init` and `paploss convert` lay them out.

    Links to folders are not followed, and roots that this machine does not see hold nothing.
    """
    found = []
    for root in data_roots:
        try:
            inner = [each for each in islice(root.iterdir(), MOST_FOLDERS) if each.is_dir() and not each.is_symlink()]
        except OSError:
            continue
        for folder in (root, *sorted(inner)):
            parts = _find_parts(folder)
            if {"train", "val"} <= set(parts):
                splits = {part: Split(annotations=f"{part}.json", images="images") for part in parts}
                found.append(DatasetSpec(name=folder.name[:100] or "data", root=str(folder), **splits))
    return found


def _find_parts(folder: Path) -> list[str]:
    """The splits in a folder; none where this process may not look into it."""
    try:
        if not (folder / "images").is_dir():
            return []
        return [part for part in ("train", "val", "test") if (folder / f"{part}.json").is_file()]
    except PermissionError:
        return []
