"""A disk so small that a test can fill it."""

import errno
import subprocess
from pathlib import Path
from typing import Self


class CannotMountError(Exception):
    """This machine lets nobody make a small file system; the test that wants one is skipped."""


class SmallDisk:
    """A file system of some megabytes, in memory, that can be filled up and freed."""

    def __init__(self, folder: Path, size_mb: int) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=777", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CannotMountError(f"no small file system can be mounted here: {error}") from None
        self._ballast = folder / "ballast"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self) -> None:
        """Leave no byte."""
        with self._ballast.open("ab", buffering=0) as file:
            for size_bytes in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size_bytes))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()
