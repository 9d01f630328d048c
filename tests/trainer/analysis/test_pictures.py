"""Which images are shown, and with what."""

import base64
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest
from small_splits import CAT, DOG, make_split

from paploss.jobs.analysis import LONGEST_FILE_NAME, LONGEST_NAME, MOST_DETECTIONS, MOST_PICTURES, MOST_TRUTHS
from paploss.jobs.thumbnails import MOST_BYTES, check_jpeg
from paploss.trainer.analysis.analysis import analyse
from paploss.trainer.analysis.pictures import SIDE_PX, choose_images, make_thumbnail
from paploss.trainer.evaluation import evaluate_detections


def with_images(split, folder, count):
    """The split on `count` images of its own."""
    for number in range(1, count + 1):
        noise = np.random.default_rng(number).integers(0, 256, (200, 200, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), noise)
    images = [{**split.images[0], "id": one, "file_name": f"{one}.png"} for one in range(1, count + 1)]
    return replace(split, images=tuple(images), image_folder=folder)


def pictures_of(split, *rows):
    evaluated = evaluate_detections(split, np.array(rows, dtype=np.float64).reshape(-1, 7))
    return analyse(evaluated, split).pictures


def test_the_choice_depends_on_positions_alone(tmp_path):
    everywhere = [(image, 4, [10, 10, 20, 20], 0) for image in range(1, 41)]
    split = with_images(make_split(*everywhere), tmp_path, 1)
    split = replace(split, images=tuple({**split.images[0], "id": one} for one in range(1, 41)))
    chosen = choose_images(split)
    assert len(set(chosen)) == MOST_PICTURES
    assert chosen == sorted(chosen) != list(range(MOST_PICTURES))
    assert choose_images(replace(split, annotations=split.annotations[::-1])) == chosen


def test_images_with_objects_come_before_others():
    split = make_split(*((image, 4, [10, 10, 20, 20], 0) for image in (7, 31)), (8, 4, [1, 1, 9, 9], 1))
    split = replace(split, images=tuple({**split.images[0], "id": one} for one in range(1, 41)))
    assert {6, 30} < set(choose_images(split))
    assert len(choose_images(split)) == MOST_PICTURES


def test_a_picture_has_objects_and_detections_with_what_they_are(tmp_path):
    split = with_images(make_split(CAT, DOG, (5, 4, [150, 150, 20, 20], 1)), tmp_path, 5)
    rows = [(3, 10, 10, 50, 40, 0.9, 0), (3, 10, 10, 50, 45, 0.8, 0), (5, 20, 20, 100, 40, 0.7, 1)]
    shown = {picture.file_name: picture for picture in pictures_of(split, *rows)}
    assert [(one.name, one.found, one.crowd) for one in shown["3.png"].truths] == [("cat", 0.9, False)]
    assert [(one.name, one.found, one.crowd) for one in shown["5.png"].truths] == [
        ("dog", None, False),
        ("cat", None, True),
    ]
    assert [(one.kind, one.score, one.iou) for one in shown["3.png"].detections] == [
        ("hit", 0.9, 0.8),
        ("duplicate", 0.8, 0.9),
    ]
    (bad,) = shown["5.png"].detections
    assert (bad.kind, bad.name, bad.box, bad.iou) == ("localisation", "dog", (20, 20, 100, 40), pytest.approx(0.333))


def test_a_picture_is_bounded_whatever_the_data_set_has(tmp_path):
    cats = [(1, 4, [2 * place % 190, place, 9, 9], 0) for place in range(MOST_TRUTHS + 20)]
    split = with_images(make_split(*cats), tmp_path, 1)
    name = "x" * (LONGEST_FILE_NAME + 50) + ".png"
    split = replace(split, images=({**split.images[0], "file_name": name},))
    split = replace(split, categories=({"id": 4, "name": "c" * 190}, split.categories[1]))
    rows = [(1, place % 190, 5, 10, 10, place / 100, 0) for place in range(90)]
    (picture,) = pictures_of(split, *rows)
    assert (len(picture.truths), len(picture.detections)) == (MOST_TRUTHS, MOST_DETECTIONS)
    assert [one.score for one in picture.detections] == sorted((r[5] for r in rows), reverse=True)[:MOST_DETECTIONS]
    assert picture.file_name == name[-LONGEST_FILE_NAME:]
    assert {len(one.name) for one in (*picture.truths, *picture.detections)} == {LONGEST_NAME}
    assert picture.thumbnail is None  # there is no file of that name


def test_a_name_that_is_no_utf_8_is_shown_with_its_image(tmp_path):
    split = with_images(make_split((1, 4, [10, 10, 20, 20], 0)), tmp_path, 1)
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "1.png").rename(tmp_path / name)
    (picture,) = pictures_of(replace(split, images=({**split.images[0], "file_name": name},)))
    assert picture.file_name == "caf?.png"
    assert picture.thumbnail is not None


@pytest.mark.parametrize(
    ("shape", "expected"), [((1200, 600), (SIDE_PX, SIDE_PX // 2)), ((40, 60), (40, 60)), ((2000, 3), (SIDE_PX, 1))]
)
def test_a_thumbnail_is_small_and_as_everybody_takes_it(tmp_path, shape, expected):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    data = base64.b64decode(make_thumbnail(tmp_path / "a.png"))
    check_jpeg(data)
    assert len(data) <= MOST_BYTES
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2] == expected
