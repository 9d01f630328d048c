"""The operator's data roots: what a request may name lies beneath one of them."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from paploss.client.specs import Request


class PathRefusedError(ValueError):
    """A request names a path outside the operator's data roots; `field` says where."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def check_paths(request: Request, data_roots: Sequence[Path]) -> None:
    """Refuse a request whose data set or weights lie outside `data_roots`.

    Compares paths only, because they are the workers' and need not exist here.

    Raises:
        PathRefusedError: names the field, the path and the roots.
    """
    for field, path in (("dataset.root", request.dataset.root), ("weights", request.weights)):
        if not path:
            continue
        pure = PurePosixPath(path)
        if not pure.is_absolute() or ".." in pure.parts:
            raise PathRefusedError(field, f"expected an absolute path without '..', got {path!r}")
        if not any(pure.is_relative_to(root) for root in data_roots):
            roots = ", ".join(map(str, data_roots)) or "none (the operator sets PAPLOSS_DATA_ROOTS)"
            raise PathRefusedError(field, f"expected a path beneath one of the data roots: {roots}; got {path!r}")
