import json
import resource
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from paploss.trainer.datasets.split import choose_images, read_amount, split_file, split_names
from paploss.trainer.errors import UserError


def make_content() -> dict:
    """Class 1 in most images, class 2 in a third, class 3 in every 20th; some crowds and some empty images."""
    generator = np.random.default_rng(0)
    annotations: list[dict] = []
    for image_id in range(400):
        counts = (generator.poisson(4), int(generator.random() < 0.33), 2 * int(generator.random() < 0.05))
        for category, count in enumerate(counts, start=1):
            for _ in range(count):
                crowd = int(generator.random() < 0.02)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": [0, 0, 5, 5],
                        "iscrowd": crowd,
                    }
                )
    return {
        "info": {"year": 2017},
        "images": [{"id": one, "file_name": f"{one}.jpg", "width": 9, "height": 9} for one in range(400)],
        "annotations": annotations,
        "categories": [{"id": one, "name": str(one)} for one in (1, 2, 3)],
    }


@pytest.fixture
def annotation_file(tmp_path: Path) -> Path:
    file = tmp_path / "instances_train2017.json"
    file.write_text(json.dumps(make_content()))
    return file


@pytest.mark.parametrize("seed", range(5))
def test_every_class_keeps_its_share(seed):
    content = make_content()
    chosen = choose_images(content, 80, seed)
    assert len(chosen) == 80
    shares = {}
    for category in (1, 2, 3):
        images = Counter(
            one["image_id"] in chosen
            for one in content["annotations"]
            if one["category_id"] == category and not one["iscrowd"]
        )
        shares[category] = images[True] / images.total()
    assert all(share == pytest.approx(0.2, abs=0.06) for share in shares.values())


def test_the_seed_fixes_the_outcome():
    content = make_content()
    assert choose_images(content, 80, 1) == choose_images(content, 80, 1)
    assert choose_images(content, 80, 1) != choose_images(content, 80, 2)


def test_parts_are_disjoint_whole_and_keep_everything_else(annotation_file):
    files = split_file(annotation_file, 0.1, seed=0)
    assert (files.train.name, files.val.name) == ("search_train2017.json", "search_val2017.json")
    assert (files.train_images, files.val_images) == (360, 40)
    whole, train, val = (json.loads(file.read_text()) for file in (annotation_file, files.train, files.val))
    for key in ("images", "annotations"):
        ids = [one["id"] for one in train[key]] + [one["id"] for one in val[key]]
        assert sorted(ids) == [one["id"] for one in whole[key]]
    images = {one["id"] for one in val["images"]}
    assert all(one["image_id"] in images for one in val["annotations"])
    assert train["info"] == val["info"] == whole["info"]
    assert train["categories"] == whole["categories"]


def test_existing_files_are_kept_unless_asked(annotation_file):
    files = split_file(annotation_file, 50, seed=0)
    before = files.val.read_bytes()
    with pytest.raises(UserError, match=r"search_train2017\.json: exists already"):
        split_file(annotation_file, 60, seed=0)
    assert files.val.read_bytes() == before
    assert split_file(annotation_file, 60, seed=0, overwrite=True).val_images == 60
    assert sorted(one.name for one in annotation_file.parent.iterdir()) == [
        "instances_train2017.json",
        "search_train2017.json",
        "search_val2017.json",
    ]


@pytest.mark.parametrize("amount", [0, -1, 400, 401, 0.0001, 12.5, float("nan")])
def test_an_amount_that_leaves_a_part_empty_writes_nothing(annotation_file, amount):
    with pytest.raises(UserError, match="val: expected a fraction of the 400 images"):
        split_file(annotation_file, amount, seed=0)
    assert [one.name for one in annotation_file.parent.iterdir()] == [annotation_file.name]


def test_names_keep_the_suffix():
    assert [one.name for one in split_names(Path("a/instances_train2014.json"))] == [
        "search_train2014.json",
        "search_val2014.json",
    ]
    assert split_names(Path("train.json"))[1].name == "search_val.json"
    assert split_names(Path("boxes.json"))[1].name == "search_val_boxes.json"


def test_an_amount_is_a_whole_number_or_a_fraction_below_1():
    assert [read_amount(text) for text in ("50", "1", "0.1", ".25")] == [50, 1, 0.1, 0.25]


@pytest.mark.parametrize("text", ["1.0", "12.5", "0.0", "-3", "all", "nan", ""])
def test_an_amount_that_could_be_meant_otherwise_is_refused(text):
    with pytest.raises(UserError, match="val: expected a whole number of images, such as 50, or a fraction below 1"):
        read_amount(text)


def test_a_full_disk_is_told_with_the_file(tmp_path):
    file = tmp_path / "train.json"
    file.write_text(json.dumps(make_content()))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"search_train\.json: cannot be written"):
            split_file(file, 0.2, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [one.name for one in tmp_path.iterdir()] == ["train.json"]
