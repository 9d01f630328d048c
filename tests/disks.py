"""Disks that a test can break: one so small that it can be filled, and one that the kernel takes for broken."""

import errno
import os
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


class FailingDisk:
    """A disk of some megabytes, in a file, that becomes read-only as the kernel makes one after an error of the device,
    whoever has files of it open."""

    def __init__(self, folder: Path, size_mb: int) -> None:
        self.folder = folder
        self._image = folder.with_suffix(".ext4")
        folder.mkdir()
        with self._image.open("wb") as file:
            file.truncate(size_mb << 20)
        try:
            _command("mkfs.ext4", "-q", self._image)
            self._mount()
        except (OSError, subprocess.CalledProcessError) as error:
            raise CannotMountError(f"no ext4 file system can be made and mounted here: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _command("umount", "--lazy", self.folder)

    def fail(self) -> None:
        """From now on it is read-only; what was written before is on it."""
        os.sync()
        _command("mount", "-o", "remount,abort", self.folder)

    def repair(self) -> None:
        """As an operator does: unmounted, checked, mounted again. Nobody may have a file of it open."""
        _command("umount", self.folder)
        subprocess.run(["e2fsck", "-f", "-y", str(self._image)], check=False, capture_output=True)
        self._mount()

    def _mount(self) -> None:
        _command("mount", "-o", "loop", self._image, self.folder)


def _command(*words: str | Path) -> None:
    subprocess.run(list(map(str, words)), check=True, capture_output=True)
