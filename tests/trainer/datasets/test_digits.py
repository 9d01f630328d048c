import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets import digits
from paploss.trainer.datasets.sources import read_job_data


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    digits.embedded_digits(folder)
    return folder


def test_parts_are_valid_coco_with_all_classes(cache):
    for split in ("val", "test"):
        job = JobSpec(trial_id="t", profile="retinanet-tiny", loss={"name": "focal_l1"}, evaluate_split=split)
        data = read_job_data(job, cache)
        assert len(data.train.images) == digits.SCENES["train"]
        assert len(data.test.images) == digits.SCENES[split]
        for part in (data.train, data.test):
            assert {one["category_id"] for one in part.annotations} == set(range(1, digits.CLASSES + 1))
            assert len(part.annotations) > 3 * len(part.images)


def test_scenes_are_the_same_every_time(cache, tmp_path):
    again = Path(digits.embedded_digits(tmp_path).root)
    first = cache / again.name
    for name in ("annotations/instances_val.json", "train/000001.png", "test/000096.png"):
        assert (again / name).read_bytes() == (first / name).read_bytes()


def test_nothing_is_left_beside_the_data_set_and_it_is_made_once(cache):
    root = cache / f"digits-v{digits.VERSION}"
    before = root.stat().st_mtime_ns
    digits.embedded_digits(cache)
    assert list(cache.iterdir()) == [root]
    assert root.stat().st_mtime_ns == before


def test_the_second_of_two_makers_takes_what_the_first_put_in_place(cache, tmp_path, monkeypatch):
    root = tmp_path / f"digits-v{digits.VERSION}"

    def write_while_another_finishes(aside: Path) -> None:
        (aside / "mine").touch()
        root.mkdir()
        (root / "theirs").touch()

    monkeypatch.setattr(digits, "write_digits", write_while_another_finishes)
    assert digits.embedded_digits(tmp_path).root == str(root)
    assert [one.name for one in root.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [root]


def test_parts_draw_from_different_digits():
    ranges = [range(*share) for share in digits.SHARES.values()]
    assert sorted(number for one in ranges for number in one) == list(range(10))


def test_boxes_fit_the_ink(tmp_path):
    source = load_digits()
    generator = np.random.default_rng(0)
    image, objects = digits.compose_scene(generator, source.images / 16, source.target)
    assert image.shape == (digits.SIDE_PX, digits.SIDE_PX, 3)
    assert image.dtype == np.uint8
    assert objects
    for _, (x, y, width, height) in objects:
        assert x >= 0
        assert y >= 0
        assert x + width <= digits.SIDE_PX
        assert y + height <= digits.SIDE_PX


def test_images_on_disk_have_the_announced_size(cache):
    root = cache / f"digits-v{digits.VERSION}"
    content = json.loads((root / "annotations/instances_train.json").read_text())
    image = cv2.imread(str(root / "train" / content["images"][0]["file_name"]))
    assert image.shape[:2] == (content["images"][0]["height"], content["images"][0]["width"])
