"""What an annotation file says of objects: each fault is told with its ids, and all of them at once."""

import json

import pytest

from paploss.jobs.metrics import MOST_CLASSES
from paploss.trainer.datasets.coco import CocoSplit, checked_split
from paploss.trainer.datasets.findings import Findings
from paploss.trainer.errors import UserError

BOX = [10, 5, 20, 30]


def read(tmp_path, *annotations, **changes) -> tuple[CocoSplit, Findings]:
    """A split of one image of 100 x 50 px, and what was found; the content goes through JSON as in a file."""
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 50}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 40 + place, "image_id": 7, "category_id": 3, "bbox": BOX, **one}
            for place, one in enumerate(annotations)
        ],
        **changes,
    }
    findings = Findings()
    return checked_split(json.loads(json.dumps(content)), tmp_path / "train.json", tmp_path, findings), findings


@pytest.mark.parametrize("area", [-600, 0, float("nan"), float("inf"), "600", None, 0.003, 60_000, 10**400])
def test_an_area_that_cannot_be_one_is_that_of_its_box(tmp_path, area):
    split, findings = read(tmp_path, {"area": area})
    assert split.annotations[0]["area"] == 600
    assert "1 area cannot be right for the boxes" in findings.warnings()[0]
    assert not findings.has_errors


@pytest.mark.parametrize("area", [600, 412.5, 620, 1])
def test_an_area_that_can_be_one_is_kept(tmp_path, area):
    split, findings = read(tmp_path, {"area": area})
    assert split.annotations[0]["area"] == area
    assert not findings.warnings()


def test_a_missing_area_is_that_of_the_clipped_box(tmp_path):
    split, _ = read(tmp_path, {"bbox": [90, 0, 20, 50]})
    assert split.annotations[0]["area"] == 10 * 50


@pytest.mark.parametrize(
    "ids",
    [(10**18 + 1, 10**18 + 2), (2**70, 2**70 + 1), (-5, 0), ("a", "b"), ("1", "2"), (1, "1")],
    ids=["above 2^53", "above 2^63", "negative", "texts", "digits", "mixed"],
)
def test_ids_may_be_any_whole_number_or_text(tmp_path, ids):
    images = [{"id": one, "file_name": f"{place}.jpg", "width": 100, "height": 50} for place, one in enumerate(ids)]
    categories = [{"id": one, "name": f"class {place}"} for place, one in enumerate(ids)]
    split, findings = read(
        tmp_path,
        {"image_id": ids[1], "category_id": ids[0]},
        {"image_id": ids[0], "category_id": ids[1]},
        images=images,
        categories=categories,
    )
    assert not list(findings)
    assert [(one["image_id"], split.labels[one["category_id"]]) for one in split.annotations] == [(2, 0), (1, 1)]
    assert [image["id"] for image in split.images] == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 8}, "annotation 40: image_id 8 is not among the images"),
        ({"image_id": "7"}, "annotation 40: image_id '7' is not among the images; there is 7, a number"),
        ({"category_id": 2**80}, f"annotation 40: category_id {2**80} is not among the categories"),
        ({"bbox": ["1", "2", "3", "4"]}, "annotation 40: expected a bbox of four finite numbers"),
        ({"bbox": None}, "annotation 40: expected a bbox of four finite numbers"),
        ({"bbox": [1, 2, float("nan"), 4]}, "annotation 40: expected a bbox of four finite numbers"),
    ],
)
def test_what_an_annotation_cannot_mean_is_an_error_with_its_id(tmp_path, change, message):
    _, findings = read(tmp_path, change, {})
    with pytest.raises(UserError) as caught:
        findings.raise_errors()
    assert str(caught.value).startswith(f"{tmp_path / 'train.json'}: {message}")


def test_all_faults_are_told_at_once_and_the_first_twenty_of_a_kind(tmp_path):
    _, findings = read(tmp_path, *({"image_id": 100 + one} for one in range(30)), {"bbox": [0, 0, "x", 1]})
    with pytest.raises(UserError) as caught:
        findings.raise_errors()
    text = str(caught.value)
    assert "30 annotations name images that do not exist" in text
    assert text.count("is not among the images") == 20
    assert "... and 10 more" in text
    assert "annotation 70: expected a bbox" in text


def test_boxes_that_occur_twice_and_thin_ones_are_warned_of(tmp_path):
    _, findings = read(tmp_path, {}, {}, {"bbox": [1, 1, 0.5, 20]})
    warnings = "\n".join(findings.warnings())
    assert "1 box occurs twice (annotation 41" in warnings
    assert "1 box is thinner than a pixel (annotation 42" in warnings


def test_objects_that_only_some_tools_ignore_are_warned_of(tmp_path):
    """As mmdet's converter of Pascal VOC marks difficult ones."""
    crowd, none = {"iscrowd": 1, "ignore": 1, "bbox": [1, 1, 5, 5]}, {"ignore": 0, "bbox": [2, 2, 5, 5]}
    split, findings = read(tmp_path, {"ignore": 1}, crowd, none)
    assert [one["iscrowd"] for one in split.annotations] == [0, 1, 0]
    assert findings.warnings() == (
        f"{tmp_path / 'train.json'}: 1 annotation has ignore set, not iscrowd: objects like others, as in COCO's "
        "evaluation (annotation 40)",
    )


@pytest.mark.parametrize("bbox", [[99.99999999, 5, 10, 20], [10, 5, 20, 0.001]])
def test_a_box_of_which_rounding_leaves_nothing_is_empty(tmp_path, bbox):
    split, findings = read(tmp_path, {}, {"bbox": bbox})
    assert [one["bbox"] for one in split.annotations] == [BOX]
    assert "1 empty box was left out (annotation 41" in findings.warnings()[0]
    assert not findings.has_errors


def test_more_empty_boxes_than_others_are_an_error(tmp_path):
    _, findings = read(tmp_path, {}, {"bbox": [50, 40, -20, -30]}, {"bbox": [50, 40, 0, 9]})
    with pytest.raises(UserError, match="2 of 3 boxes have no width or height above 0"):
        findings.raise_errors()


def test_more_categories_than_results_can_hold_are_an_error(tmp_path):
    categories = [{"id": place, "name": f"class {place}"} for place in range(MOST_CLASSES + 1)]
    _, findings = read(tmp_path, {}, categories=categories)
    with pytest.raises(UserError, match="expected at most 10000 categories, got 10001"):
        findings.raise_errors()


def test_images_and_categories_that_occur_twice_are_errors_with_their_ids(tmp_path):
    image = {"id": 7, "file_name": "a.jpg", "width": 100, "height": 50}
    _, findings = read(
        tmp_path,
        {},
        images=[image, {**image, "file_name": "b.jpg"}, {**image, "id": 9}],
        categories=[{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}],
    )
    with pytest.raises(UserError) as caught:
        findings.raise_errors()
    text = str(caught.value)
    assert "image id 7 occurs twice" in text
    assert "image 9 and image 7 have the same file_name 'a.jpg'" in text
    assert "a category id occurs twice: 3" in text


def test_backslashes_are_taken_as_slashes_unless_a_file_has_them(tmp_path):
    (tmp_path / "b\\c.png").touch()
    names = ("part1\\001.png", "b\\c.png", "C:\\data\\2.png", "..\\3.png")
    images = [{"id": place, "file_name": name, "width": 9, "height": 9} for place, name in enumerate(names)]
    split, findings = read(tmp_path, images=images)
    assert [image["file_name"] for image in split.images[:2]] == ["part1/001.png", "b\\c.png"]
    assert "3 file names have backslashes" in findings.warnings()[0]
    with pytest.raises(UserError, match=r"2 images have names outside .*\n.*image 2: .*\n.*image 3: "):
        findings.raise_errors()


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("disc", "bar"), ("disc", "bar")),
        (("disc", "bar", "disc"), ("disc (id 1)", "bar", "disc (id 3)")),
        (("", " "), ("(id 1)", "(id 2)")),
        (("disc", "disc", "disc (id 1)"), ("disc (id 1)'", "disc (id 2)", "disc (id 1)")),
        (("AP", "AP50"), ("AP", "AP50")),
        (
            ("a\0", "a\N{REPLACEMENT CHARACTER}"),
            ("a\N{REPLACEMENT CHARACTER} (id 1)", "a\N{REPLACEMENT CHARACTER} (id 2)"),
        ),
        (("\ud800",), ("?",)),
        (("x" * 300, "x" * 299), ("x" * 180 + " (label 0)", "x" * 180 + " (label 1)")),
    ],
)
def test_each_class_has_a_key_of_its_own(tmp_path, names, keys):
    split, _ = read(tmp_path, categories=[{"id": number, "name": name} for number, name in enumerate(names, 1)])
    assert split.class_keys == keys
