"""A folder of labelled images as a data set to search on: COCO files with a training, a validation and a test part.

Rewards are measured on the validation part, and the search chooses by them, so that the AP of what it chose says
something only on images that it has not seen: the test part. What a folder holds out already is held out here too.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

from paploss.trainer.datasets.coco import Json
from paploss.trainer.datasets.layouts.labelled import PARTS, LabelledImage
from paploss.trainer.datasets.layouts.recognition import READERS, recognise
from paploss.trainer.datasets.layouts.writing import write_coco
from paploss.trainer.datasets.stratification import choose_validation
from paploss.trainer.errors import UserError

LEAST_IMAGES = 10
Parts = Mapping[str, list[LabelledImage]]


def prepare(folder: Path, output: Path, share: float, seed: int, *, overwrite: bool, cache: Path | None) -> Json:
    """Writes train.json, val.json, test.json and images/ below `output`; see `write_coco`.

    Args:
        folder: COCO, Pascal VOC (with or without lists) or YOLO.
        output: where to write; outside `folder`, or what is written would be read the next time.
        share: of all images, for each part that is drawn, in (0, 0.5).
        seed: which images are drawn.
        overwrite: replace COCO files that exist.
        cache: folder for what was read of images.

    Raises:
        UserError: something is missing, is faulty, too few, or lies in the way.
    """
    data = READERS[recognise(folder)](folder, cache)
    parts = divide(data.parts, share, seed)
    written = write_coco(replace(data, parts=dict(parts)), folder, output, overwrite)
    drawn = [part for part in PARTS if len(data.parts.get(part, ())) != len(parts[part])]
    return {**written, "layout": data.layout, "notes": list(data.notes), "drawn": drawn}


def divide(parts: Parts, share: float, seed: int) -> Parts:
    """All three parts: val becomes test where there is no test, and what is missing is drawn from train.

    Raises:
        UserError: there is no training part, or it has too few images.
    """
    train = parts.get("train", [])
    if len(train) < LEAST_IMAGES:
        raise UserError(f"train: expected {LEAST_IMAGES} images or more, got {len(train)}")
    test, val = (parts.get("test"), parts.get("val"))
    if not test:
        test, val = val, None
    count = max(2, round(share * sum(len(part) for part in parts.values())))
    if not test:
        train, test = _draw(train, count, seed)
    if not val:
        train, val = _draw(train, count, seed + 1)
    return {"train": train, "val": val, "test": test}


def _draw(images: list[LabelledImage], count: int, seed: int) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """The rest, and `count` images with every class that both can have."""
    if 2 * count > len(images):
        raise UserError(f"train: expected {2 * count} images or more to draw {count} from, got {len(images)}")
    classes: dict[Hashable, list[Hashable]] = {
        place: [one.label for one in image.objects if not one.crowd] for place, image in enumerate(images)
    }
    chosen = choose_validation(classes, count, seed)
    rest = [image for place, image in enumerate(images) if place not in chosen]
    return rest, [image for place, image in enumerate(images) if place in chosen]
