"""Files that are written whole or not at all, in UTF-8 whatever the locale, and read as what they are when opened."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

READABLE, PRIVATE = 0o666, 0o600
"""Modes of a new file, before the umask: as usual, or for its owner's eyes only."""


@contextmanager
def whole_file(path: Path, mode: int = READABLE) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` when the block ends, and never if it raises.

    It has another name until then, beginning with a dot, and is on the disk before it is renamed: a process killed at
    any instruction leaves the old content or the new. What `path` links to is replaced, not the link.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes, mode: int = READABLE) -> None:
    """Write a file; text as UTF-8. Raises OSError, and then an older content is still there."""
    with whole_file(path, mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def read_regular(path: Path) -> bytes:
    """The content of a file, or of the file that a link leads to.

    What is opened is what is checked, so that nothing can be put in its place between the two: a pipe would block its
    reader for ever, and a device would fill the memory.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        return file.read()
