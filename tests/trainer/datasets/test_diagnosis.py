"""The check of a data set without a job, and the page about it."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from exported_folders import YOLO_BOX, write, write_voc
from privileges import bound_by_permissions

from paploss.jobs.spec import DatasetSpec, Split
from paploss.trainer.datasets.diagnosis import Detector, diagnose
from paploss.trainer.datasets.report_page import write_page
from paploss.trainer.errors import UserError

NASTY = "</script><b>[/x] & 'cells'\""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images for training and one for validation; classes of ids 2 and 2^70, the latter's name is markup."""
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for part, numbers in (("train", (1, 2, 3)), ("val", (4,))):
        for number in numbers:
            pixels = generator.integers(0, 255, (100, 200, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "images" / f"{number}.jpg"), pixels)
        boxes = [([10, 10, 20, 20], 2, 0), ([50, 20, 60, 50], 2**70, 0), ([20, 5, 120, 90], 2, 0), ([0, 0, 3, 9], 2, 1)]
        content = {
            "images": [{"id": one, "file_name": f"{one}.jpg", "width": 200, "height": 100} for one in numbers],
            "annotations": [
                {"image_id": one, "category_id": category, "bbox": box, "iscrowd": crowd}
                for one in numbers
                for box, category, crowd in boxes
            ],
            "categories": [{"id": 2**70, "name": NASTY}, {"id": 2, "name": "disc"}],
        }
        (tmp_path / f"{part}.json").write_text(json.dumps(content))
    return tmp_path


def test_a_folder_in_numbers(root):
    report = diagnose(root, detector=Detector("retinanet-tiny")).report
    assert (report.layout, report.profile, report.verdict) == ("COCO", "retinanet-tiny", "warnings")
    train, val = report.splits
    assert (train.name, train.images, train.objects, train.crowds, train.images_without_objects) == (
        "train",
        3,
        9,
        3,
        0,
    )
    assert train.box_sizes.model_dump() == {"small": 3, "medium": 3, "large": 3}
    assert (train.unseen, train.tiny, train.clipped, train.empty, train.duplicates) == (3, 0, 0, 0, 0)
    assert train.formats == {"JPEG RGB": 3}
    assert train.smallest_image == train.median_image == train.largest_image == (200, 100)
    assert val.images == 1
    nasty, disc = report.classes
    assert (nasty.id, nasty.key, nasty.objects, nasty.images) == (
        2**70,
        NASTY,
        {"train": 3, "val": 1},
        {"train": 3, "val": 1},
    )
    assert (disc.objects, disc.images) == ({"train": 6, "val": 2}, {"train": 3, "val": 1})
    assert report.side_histogram["val"] == {16: 1, 32: 1, 64: 1}
    assert json.loads(report.model_dump_json())["classes"][0]["id"] == 2**70


def test_a_file_and_a_specification_are_taken_too(root):
    assert [split.name for split in diagnose(root / "train.json").report.splits] == ["train"]
    parts = {part: Split(annotations=f"{part}.json", images="images") for part in ("train", "val")}
    report = diagnose(DatasetSpec(name="cells", root=str(root), **parts)).report
    assert [split.name for split in report.splits] == ["train", "val"]
    gone = Split(annotations="test.json", images="images")
    report = diagnose(DatasetSpec(name="cells", root=str(root), **parts, test=gone)).report
    assert report.verdict == "warnings"
    assert "test.json: cannot be read" in report.findings[0].summary


def test_what_is_wrong_is_in_the_report_and_what_is_not_there_is_raised(root):
    (root / "images" / "2.jpg").write_bytes(b"")
    report = diagnose(root).report
    assert report.verdict == "errors"
    assert report.findings[0].level == "error"
    assert report.findings[0].examples == (f"{root}/images/2.jpg: cannot be read as an image: it is empty",)
    assert diagnose(root, files=False).report.verdict == "ok"
    (root / "train.json").write_text("{")
    (root / "val.json").unlink()
    assert diagnose(root).report.verdict == "errors"
    with pytest.raises(UserError, match="none: no such file or folder"):
        diagnose(root / "none")
    with pytest.raises(UserError, match="profile: expected one of"):
        diagnose(_sound(root), detector=Detector("none"))


def test_category_ids_that_occur_twice_are_in_the_report(root):
    for part in ("train", "val"):
        content = json.loads((root / f"{part}.json").read_text())
        content["categories"].append({"id": 2, "name": "ring"})
        (root / f"{part}.json").write_text(json.dumps(content))
    report = diagnose(root).report
    assert report.verdict == "errors"
    assert [one.examples for one in report.findings].count(("a category id occurs twice: 2",)) == 2


def _sound(root: Path) -> Path:
    image = {"id": 1, "file_name": "1.jpg", "width": 200, "height": 100}
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 50, 50]}
    content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "disc"}]}
    (root / "train.json").write_text(json.dumps(content))
    return root


def test_the_page_stands_alone_and_escapes_what_comes_from_files(root, tmp_path):
    found = diagnose(root)
    write_page(found.report, found.splits, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert NASTY not in text
    assert "&lt;/script&gt;&lt;b&gt;[/x] &amp; &#x27;cells&#x27;&quot;" in text
    assert text.count("<figure>") == 4
    assert text.count("data:image/jpeg;base64,") == 4
    assert text.count("stroke-dasharray") == 4
    assert "http" not in text.replace("http-equiv", "")


def test_a_page_of_what_cannot_be_read_has_the_errors(root, tmp_path):
    for name in ("train.json", "val.json"):
        (root / name).write_text('{"images": [], "categories": [], "annotations": []}')
    (root / "images" / "1.jpg").write_bytes(b"")
    found = diagnose(root)
    write_page(found.report, found.splits, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "cannot be trained on" in text
    assert "expected at least one image" in text


LOOK = """
import json, sys
from pathlib import Path
from paploss.jobs.spec import DatasetSpec
from paploss.trainer.datasets.diagnosis import diagnose
target = sys.argv[1]
report = diagnose(DatasetSpec.model_validate_json(target) if target.startswith("{") else Path(target)).report
print(json.dumps([finding.summary for finding in report.findings if finding.level == "error"]))
"""


def look_while_closed(target: Path | DatasetSpec, closed: Path) -> list[str]:
    """The errors of a data set whose user may not look into one folder."""
    told = str(target) if isinstance(target, Path) else target.model_dump_json()
    command = bound_by_permissions(sys.executable, "-c", LOOK, told)
    closed.chmod(0)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        closed.chmod(0o700)
    errors: list[str] = json.loads(done.stdout or "null")
    assert errors is not None, done.stderr
    return errors


def test_a_closed_folder_of_images_is_named(root):
    images = root / "images"
    assert look_while_closed(root, images) == [
        f"{images}: cannot be read: permission denied (images of {root / 'train.json'} may be in it)"
    ]
    splits = {part: Split(annotations=f"{part}.json", images="images") for part in ("train", "val")}
    spec = DatasetSpec(name="pets", root=str(root), **splits)
    assert look_while_closed(spec, images) == [f"4 images in {images} cannot be used"]
    inner = root / "closed" / "images"
    inner.parent.mkdir()
    images.rename(inner)
    splits = {part: Split(annotations=f"{part}.json", images="closed/images") for part in ("train", "val")}
    (error,) = look_while_closed(DatasetSpec(name="pets", root=str(root), **splits), inner.parent)
    assert error.startswith(f"{inner}: cannot be read: Permission denied")


def test_a_yolo_description_may_name_a_closed_folder_of_another_machine(root, tmp_path):
    folder, elsewhere = tmp_path / "yolo", tmp_path / "elsewhere"
    (folder / "labels").mkdir(parents=True)
    elsewhere.mkdir()
    (root / "images").rename(folder / "images")
    (folder / "labels" / "1.txt").write_text("0 0.5 0.5 0.3 0.3")
    for place in ("path: {}/yolo\ntrain: images", "train: {}/yolo/images"):
        (folder / "data.yaml").write_text(f"{place.format(elsewhere)}\nnames: [cell]\n")
        assert look_while_closed(folder, elsewhere) == []
    (error,) = look_while_closed(folder, folder / "labels")
    assert error == f"{folder / 'labels' / '1.txt'}: cannot be read: Permission denied"


@pytest.mark.parametrize("name", ["a" * 300 + ".jpg", "a" * 300 + "\\b.jpg"])
def test_a_name_longer_than_any_files_is_an_image_that_is_not_there(root, name):
    content = json.loads((root / "train.json").read_text())
    content["images"][0]["file_name"] = name
    (root / "train.json").write_text(json.dumps(content))
    report = diagnose(root).report
    assert [one.summary for one in report.findings if one.level == "error"] == [
        f"1 image in {root / 'images'} cannot be used"
    ]


def test_images_of_a_file_in_annotations_lie_beside_that_folder(root):
    (root / "annotations").mkdir()
    file = (root / "train.json").rename(root / "annotations" / "train.json")
    assert diagnose(file).report.verdict == "ok"


@pytest.mark.parametrize("layout", ["voc", "yolo"])
def test_a_part_by_itself_is_checked_like_one_to_train_on(tmp_path, layout):
    if layout == "voc":
        write_voc(tmp_path / "val/a.xml", "a.jpg", "cell")
    else:
        write(tmp_path / "val/a.txt", f"0 {YOLO_BOX}")
        write(tmp_path / "classes.txt", "cell")
    cv2.imwrite(str(tmp_path / "val/a.jpg"), np.zeros((48, 64, 3), dtype=np.uint8))
    found = diagnose(tmp_path, detector=Detector("retinanet-tiny"))
    assert {name: len(split.annotations) for name, split in found.splits.items()} == {"train": 1}


def test_an_image_of_which_a_detector_would_see_nothing_is_refused_and_the_page_shows_it(root):
    cv2.imwrite(str(root / "images" / "1.jpg"), np.zeros((1, 3000, 3), dtype=np.uint8))
    content = json.loads((root / "train.json").read_text())
    content["images"][0] |= {"width": 3000, "height": 1}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 1]
    content["annotations"].append({"image_id": 1, "category_id": 2, "bbox": [5, 0, 90, 1]})
    (root / "train.json").write_text(json.dumps(content))
    found = diagnose(root, detector=Detector("retinanet-tiny", image_size_px=100))
    assert found.report.verdict == "errors"
    assert any("too long and thin for retinanet-tiny" in one.summary for one in found.report.findings)
    write_page(found.report, found.splits, root / "page.html")
    assert b"1.jpg" in (root / "page.html").read_bytes()
