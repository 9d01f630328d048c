"""What is known of image files after reading each once: whether they decode, their size, their depth, their content.

Every file is decoded as trainings decode it, by OpenCV, which turns images as their EXIF orientation says. A JPEG whose
end is missing does not decode. What was read is kept in a cache by path, size and time of change.
"""

import hashlib
import io
import json
import logging
import os
import stat
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paploss.files import read_regular, whole_file
from paploss.trainer.cores import available_cores
from paploss.trainer.errors import blame_machine

log = logging.getLogger(__name__)

VERSION = f"1 {cv2.__version__}"
"""Of what is cached; to be changed with every change of ImageFacts."""
MOST_THREADS = 16
EXIF_ORIENTATION = 0x0112
IMAGE_SUFFIXES = frozenset(
    [
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".jp2",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
        ".heic",
        ".heif",
    ]
)
NOT_IMAGES = (b"%PDF", b"<svg", b"<?xml", b"<!DOC", b"<html")


@dataclass(frozen=True)
class ImageFacts:
    """One file."""

    problem: str = ""
    """Why it cannot be used; empty if it can."""
    width: int = 0
    """In pixels, as a detector sees it: turned by its EXIF orientation."""
    height: int = 0
    orientation: int = 1
    """EXIF's: 1 is upright, from 5 on width and height change places."""
    format: str = ""
    mode: str = ""
    """Pillow's name for what a pixel is, e.g. RGB, L, P or CMYK."""
    largest: int = 0
    """The largest value in an image of 16 bits a channel; 0 in others."""
    animated: bool = False
    has_alpha: bool = False
    digest: str = ""
    """Of the file's bytes."""
    pixels: str = ""
    """Digest of the decoded pixels."""


def read_images(
    folder: Path, names: Sequence[str], cache: Path | None, on_image: Callable[[], None] = lambda: None
) -> list[ImageFacts]:
    """Facts of the images `names` below `folder`, in parallel.

    Args:
        folder: of the images.
        names: paths below it.
        cache: folder for what was read, of any number of data sets; None keeps nothing.
        on_image: called after each; it may raise to leave.

    Raises:
        MachineError: one cannot be read, which is no fault of the file.
    """
    cached = _Cache(folder, cache)
    facts = []
    with warnings.catch_warnings(), ThreadPoolExecutor(min(MOST_THREADS, available_cores())) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of odd EXIF and large images: OpenCV decides what decodes
        try:
            for known in pool.map(cached.read, names):
                facts.append(known)
                on_image()
        finally:
            pool.shutdown(cancel_futures=True)
            cached.save()
    return facts


def read_image(file: Path) -> ImageFacts:
    """Facts of one file.

    Raises:
        MachineError: it cannot be read, which is no fault of the file.
    """
    try:
        content = read_regular(file)
    except OSError as error:
        return _of_unreadable(file, error)
    if not content:
        return ImageFacts(problem="it is empty")
    header = _read_header(content)
    try:
        # As `IMREAD_COLOR`, which pipelines use, but without cutting 16 bits down to 8.
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except (cv2.error, MemoryError):
        image = None
    if image is None:
        return ImageFacts(problem=_explain(content, header), **header)
    if image.dtype not in (np.uint8, np.uint16):
        return ImageFacts(problem=f"it has pixels of {image.dtype}, expected 8 or 16 bits a channel", **header)
    return ImageFacts(
        width=image.shape[1],
        height=image.shape[0],
        largest=int(image.max()) if image.dtype == np.uint16 else 0,
        digest=hashlib.blake2b(content, digest_size=16).hexdigest(),
        pixels=_digest_pixels(image),
        **header,
    )


def _digest_pixels(image: NDArray[Any]) -> str:
    digest = hashlib.blake2b(f"{image.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)  # without a copy: several threads hold large images
    return digest.hexdigest()


def _read_header(content: bytes) -> dict[str, Any]:
    """What Pillow reads of a file before its pixels; as far as it can."""
    Image.MAX_IMAGE_PIXELS = None  # OpenCV has a limit of its own, and decides
    header: dict[str, Any] = {}
    try:
        with Image.open(io.BytesIO(content)) as image:
            header |= {"format": image.format or "", "mode": image.mode}
            header["has_alpha"] = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            # Phones write JPEGs with more pictures for themselves.
            header["animated"] = image.format not in ("MPO", "JPEG") and getattr(image, "n_frames", 1) > 1
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
            header["orientation"] = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    except Exception:  # Pillow's plug-ins raise errors of many kinds on broken files
        log.debug("Pillow cannot read a header", exc_info=True)
    return header


def _explain(content: bytes, header: dict[str, Any]) -> str:
    """Why bytes that OpenCV does not decode are no image."""
    if content[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
        return "it is HEIC, which OpenCV does not read: convert it to JPEG or PNG"
    if content.lstrip()[:5].startswith(NOT_IMAGES):
        return "it is a document, not an image"
    if content.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: fetch the file with git lfs pull"
    known = header.get("format")
    if known in ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP"):
        return (
            f"it is a damaged or cut off {known}, of which other programs may show a part: save it anew or leave it out"
        )
    return f"it is a {known} of mode {header['mode']} that OpenCV cannot read" if known else "it is not an image"


class _Cache:
    """Facts of the files in one folder, in one JSON file; a file that cannot be used counts as empty."""

    def __init__(self, folder: Path, cache: Path | None) -> None:
        self._folder = folder
        name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:24]
        self._file = cache / "images" / f"{name}.json" if cache else None
        self._known: dict[str, tuple[int, int, ImageFacts]] = {}
        self._has_news = False
        if self._file is not None:
            try:
                content = json.loads(self._file.read_bytes())
                if content["version"] == VERSION:
                    self._known = {
                        name: (size, time, ImageFacts(**facts)) for name, size, time, facts in content["files"]
                    }
            except (OSError, ValueError, KeyError, TypeError):
                self._known = {}

    def read(self, name: str) -> ImageFacts:
        file = self._folder / name
        try:
            status = file.stat()
        except (OSError, ValueError) as error:
            return _of_unreadable(file, error)
        if not stat.S_ISREG(status.st_mode):
            return ImageFacts(problem="it is no file")
        size, time, facts = self._known.get(name, (-1, -1, None))
        # What permissions allow may change without a trace in size and time.
        if facts is not None and (size, time) == (status.st_size, status.st_mtime_ns) and os.access(file, os.R_OK):
            return facts
        facts = read_image(file)
        if facts.format or facts.width:
            self._known[name] = (status.st_size, status.st_mtime_ns, facts)
            self._has_news = True
        return facts

    def save(self) -> None:
        """Keeps what is known for the next time."""
        if self._file is None or not self._has_news:
            return
        files = [[name, *self._known[name][:2], asdict(self._known[name][2])] for name in sorted(self._known)]
        content = json.dumps({"version": VERSION, "files": files}).encode("utf-8", "surrogatepass")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._file) as output:
                output.write(content)
        except OSError as error:
            log.warning("%s: what was read of images is not kept: %s", self._file, error.strerror)


def _of_unreadable(file: Path, error: OSError | ValueError) -> ImageFacts:
    blame_machine(file, error)
    missing = isinstance(error, FileNotFoundError)
    return ImageFacts(problem="it is not there" if missing else getattr(error, "strerror", None) or str(error))


def find_similar(file: Path) -> Path | None:
    """A file that may be meant where `file` is not there: its name in another folder, case or with another suffix."""
    for folder in (file.parent, file.parent.parent):
        try:
            others = sorted(folder.iterdir())
        except (OSError, ValueError):  # it is not there, is closed to this user, or has an impossible name
            continue
        for other in others[:10_000]:
            same = other.name.lower() == file.name.lower() or other.stem == file.stem
            if same and other.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(other):
                return other
    return None
