"""The embedded data set: scenes composed of scikit-learn's real handwritten digits, in COCO format.

Nothing is downloaded. The scenes follow from VERSION and SEED alone; training, validation and test scenes are made of
different handwritten digits (dealt out by their position).
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from paploss.caches import find_cache_folder
from paploss.jobs.spec import DatasetSpec, Split
from paploss.trainer.errors import UserError

VERSION = 1
"""To be raised with every change of the scenes: it names the folder."""
SEED = 1797
SIDE_PX = 128
CLASSES = 5
"""The digits 0 to 4: five classes are learned in seconds, ten in minutes."""
SCENES = {"train": 200, "val": 96, "test": 96}
SHARES = {"train": (0, 6), "val": (6, 8), "test": (8, 10)}
"""Which digits each part draws from: those whose position modulo 10 lies in this range."""
DIGITS_PER_SCENE = (4, 8)
DIGIT_SIDE_PX = (20, 56)
MAX_COVERED = 0.25
"""Largest part of a digit's box that another may cover."""
INK_THRESHOLD = 0.15
PLACEMENT_TRIES = 20

Image = NDArray[np.float64]


def embedded_digits(cache: Path | None) -> DatasetSpec:
    """The data set as a COCO folder below `cache`, or below this user's cache folder, made on first use.

    Several processes may call this at once: each makes the whole set aside, the first one to finish puts it in place.

    Raises:
        UserError: no folder for it can be written to.
    """
    try:
        return _find_or_write(find_cache_folder() if cache is None else cache)
    except OSError as error:
        raise UserError(
            f"no folder for the embedded data set: {error.filename or cache}: {error.strerror or error}; name another "
            "one with XDG_CACHE_HOME"
        ) from error


def _find_or_write(cache: Path) -> DatasetSpec:
    root = cache / f"digits-v{VERSION}"
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".digits-", dir=cache))
        try:
            write_digits(aside)
            aside.rename(root)
        except OSError:
            if not root.is_dir():
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    parts = {part: Split(annotations=f"annotations/instances_{part}.json", images=part) for part in SCENES}
    return DatasetSpec(name="digits", root=str(root.resolve()), **parts)


def write_digits(root: Path) -> None:
    """Writes all parts below `root`: a folder of PNG images and a COCO file each."""
    # It takes seconds to import, and the images are made once on a machine.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    source = load_digits()
    (root / "annotations").mkdir()
    for part, (first, last) in SHARES.items():
        positions = np.arange(len(source.target))
        chosen = positions[(positions % 10 >= first) & (positions % 10 < last) & (source.target < CLASSES)]
        (root / part).mkdir()
        generator = np.random.default_rng((SEED, first))
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for number in range(1, SCENES[part] + 1):
            image, objects = compose_scene(generator, source.images[chosen] / 16, source.target[chosen])
            file_name = f"{number:06d}.png"
            if not cv2.imwrite(str(root / part / file_name), image):
                raise OSError(f"{root / part / file_name}: cannot be written")
            images.append({"id": number, "file_name": file_name, "width": SIDE_PX, "height": SIDE_PX})
            for label, box in objects:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": label + 1,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                )
        categories = [{"id": label + 1, "name": str(label)} for label in range(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content), encoding="utf-8")
    os.sync()


def compose_scene(
    generator: np.random.Generator, glyphs: Image, labels: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], list[tuple[int, list[int]]]]:
    """One scene.

    Args:
        generator: draws everything.
        glyphs: `[n, 8, 8]` ink in [0, 1].
        labels: `[n]` digit of each glyph.

    Returns:
        The image `[SIDE_PX, SIDE_PX, 3]` (blue, green, red), and per digit its label and box `[x, y, width, height]`.
    """
    canvas = _background(generator)
    objects: list[tuple[int, list[int]]] = []
    for choice in generator.integers(len(glyphs), size=generator.integers(*DIGITS_PER_SCENE, endpoint=True)):
        side = int(generator.integers(*DIGIT_SIDE_PX, endpoint=True))
        ink = np.clip(cv2.resize(glyphs[choice], (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
        for left, top in _places(generator, side):
            box = _tight_box(ink, left, top)
            if all(_covered(box, other) <= MAX_COVERED for _, other in objects):
                colour = generator.uniform(0.45, 1.0) * generator.uniform(0.7, 1.0, size=3)
                region = canvas[top : top + side, left : left + side]
                region += ink[..., None] * (colour - region)
                objects.append((int(labels[choice]), box))
                break
    noise = generator.normal(0, generator.uniform(0.01, 0.06), canvas.shape)
    return (np.clip(canvas + noise, 0, 1) * 255).round().astype(np.uint8), objects


def _background(generator: np.random.Generator) -> Image:
    """Dark clouds: random coarse grids, enlarged and summed."""
    canvas = np.full((SIDE_PX, SIDE_PX, 3), generator.uniform(0.05, 0.3))
    for cells in (2, 5, 16):
        coarse = generator.uniform(-0.12, 0.12, size=(cells, cells, 3))
        canvas += cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
    return canvas


def _places(generator: np.random.Generator, side: int) -> Iterator[tuple[int, int]]:
    for _ in range(PLACEMENT_TRIES):
        left, top = generator.integers(0, SIDE_PX - side, size=2, endpoint=True)
        yield int(left), int(top)


def _tight_box(ink: Image, left: int, top: int) -> list[int]:
    rows, columns = np.nonzero(ink > INK_THRESHOLD)
    x, y = int(columns.min()), int(rows.min())
    return [left + x, top + y, int(columns.max()) - x + 1, int(rows.max()) - y + 1]


def _covered(box: list[int], other: list[int]) -> float:
    """Intersection of two boxes as a part of the smaller one."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(0, width) * max(0, height) / min(box[2] * box[3], other[2] * other[3])
