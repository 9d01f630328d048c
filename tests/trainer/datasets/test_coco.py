import json
import logging
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset

from paploss.jobs.losses import FocalGIoU
from paploss.jobs.spec import DatasetSpec, JobSpec, Split
from paploss.trainer.datasets.coco import read_split
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.errors import MachineError, UserError

FOCAL = FocalGIoU()
SPLIT = Split(annotations="annotations/instances_train2017.json", images="train2017")


def write(root: Path, **changes) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 50}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 5, 20, 30], "iscrowd": 0}],
        "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}],
        **changes,
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "train2017").mkdir(exist_ok=True)
    file = root / SPLIT.annotations
    file.write_text(json.dumps(content))
    return file


def boxes(*given) -> list[dict]:
    return [
        {"id": 40 + place, "image_id": 7, "category_id": 3, "bbox": box, "iscrowd": 0}
        for place, box in enumerate(given)
    ]


def test_reads_boxes_as_corners_and_classes_in_the_files_order(tmp_path):
    write(tmp_path)
    split = read_split(tmp_path, SPLIT)
    assert split.classes == ("dog", "cat")
    (sample,) = split.samples()
    assert sample["img_path"] == str(tmp_path / "train2017/a.jpg")
    assert sample["instances"] == [{"bbox": [10, 5, 30, 35], "bbox_label": 1, "ignore_flag": 0}]


def test_labels_are_those_of_mmdet(tmp_path):
    file = write(tmp_path, annotations=[{**one, "area": 9} for one in boxes([1, 1, 3, 3])])
    split = read_split(tmp_path, SPLIT)
    theirs = CocoDataset(
        ann_file=str(file), data_prefix={"img": ""}, metainfo={"classes": split.classes}, lazy_init=True
    ).load_data_list()
    assert [one["bbox_label"] for one in theirs[0]["instances"]] == [
        one["bbox_label"] for one in next(split.samples())["instances"]
    ]


def test_labels_are_the_training_files_whatever_the_order_of_the_other(tmp_path):
    write(tmp_path)
    train = tmp_path / SPLIT.annotations
    content = json.loads(train.read_text())
    content["categories"].reverse()
    (tmp_path / "annotations" / "val.json").write_text(json.dumps(content))
    val = Split(annotations="annotations/val.json", images=SPLIT.images)
    dataset = DatasetSpec(name="mine", root=str(tmp_path), train=SPLIT, val=val)
    data = read_job_data(JobSpec(trial_id="t", profile="retinanet-tiny", dataset=dataset, loss=FOCAL), tmp_path)
    assert data.train.classes == data.test.classes == ("dog", "cat")
    assert next(data.test.samples())["instances"][0]["bbox_label"] == 1


def test_crowds_are_marked_for_leaving_out(tmp_path):
    write(tmp_path, annotations=[{**boxes([1, 1, 5, 5])[0], "iscrowd": 1}])
    split = read_split(tmp_path, SPLIT)
    assert next(split.samples())["instances"][0]["ignore_flag"] == 1
    assert split.as_coco()["annotations"][0]["iscrowd"] == 1


def test_boxes_partly_outside_are_clipped_and_empty_ones_left_out_with_counts(tmp_path, caplog):
    write(tmp_path, annotations=boxes([-5, 40, 20, 20], [90, 0, 20, 50], [3, 3, 0, 9], [3, 3, 4, 4]))
    with caplog.at_level(logging.WARNING):
        split = read_split(tmp_path, SPLIT)
    assert [one["bbox"] for one in split.annotations] == [[0, 40, 15, 10], [90, 0, 10, 50], [3, 3, 4, 4]]
    assert "2 boxes reach outside" in caplog.text
    assert "1 empty box was left out" in caplog.text


@pytest.mark.parametrize("box", [[100, 0, 5, 5], [-9, 0, 9, 5], [0, 50, 5, 5], [0, -8, 5, 8]])
def test_a_box_wholly_outside_names_file_and_annotation(tmp_path, box):
    file = write(tmp_path, annotations=boxes([1, 1, 2, 2], box))
    with pytest.raises(UserError, match=f"{file}: annotation 41: .*wholly outside"):
        read_split(tmp_path, SPLIT)


@pytest.mark.parametrize(
    "box", [[float("nan"), 0, 5, 5], [0, 0, float("inf"), 5], [10**400, 0, 5, 5], [1, 2, 3], "box", [0, 0, None, 1]]
)
def test_a_box_that_is_not_finite_names_file_and_annotation(tmp_path, box):
    file = write(tmp_path, annotations=boxes(box))
    with pytest.raises(UserError, match=f"{file}: annotation 40: expected a bbox of four finite numbers"):
        read_split(tmp_path, SPLIT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "at least one image"),
        ({"categories": []}, "at least one category"),
        ({"annotations": None}, "a list 'annotations'"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "width": 0, "height": 5}]}, "width and height above 0"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "width": 5}]}, r"images\[0\]: expected .* key 'height'"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "width": 5, "height": 5}] * 2}, "image id 7 occurs twice"),
        ({"categories": [{"id": 3, "name": "cat"}] * 2}, "category id occurs twice"),
        ({"categories": [{"id": 4, "name": "cat"}]}, "annotation 1: category_id 3"),
        (
            {"annotations": [{"id": 5, "image_id": 8, "category_id": 3, "bbox": [0, 0, 1, 1]}]},
            "annotation 5: image_id 8",
        ),
        ({"annotations": [{"id": 5, "image_id": 8, "category_id": 3}]}, r"annotations\[0\]: expected .* key 'bbox'"),
        ({"images": [7]}, r"images\[0\]: expected an object with a key 'id'"),
        (
            {"images": [{"id": 7.5, "file_name": "a.jpg", "width": 5, "height": 5}]},
            r"images\[0\]\.id: expected a whole number or a text, got 7.5",
        ),
        (
            {"images": [{"id": 7, "file_name": 7, "width": 5, "height": 5}]},
            r"images\[0\]\.file_name: expected a text, got 7",
        ),
        (
            {"annotations": [{"image_id": [7], "category_id": 3, "bbox": [0, 0, 1, 1]}]},
            r"annotations\[0\]\.image_id: expected a whole number or a text, got \[7\]",
        ),
        ({"categories": [{"id": 3, "name": None}]}, r"categories\[0\]\.name: expected a text, got None"),
        ({"annotations": [{**boxes([0, 0, 1, 1])[0], "iscrowd": None}]}, "annotation 40: iscrowd: expected 0 or 1"),
    ],
)
def test_malformed_files_are_named(tmp_path, changes, message):
    file = write(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        read_split(tmp_path, SPLIT)
    assert str(file) in str(caught.value)


def test_a_disk_that_gives_errors_is_not_the_annotation_files_fault(tmp_path):
    file = write(tmp_path)
    file.unlink()
    file.symlink_to("/proc/self/mem")  # a regular file whose reading is an input/output error
    with pytest.raises(MachineError, match=f"{file}: cannot be read: Input/output error"):
        read_split(tmp_path, SPLIT)


def test_missing_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"instances_train2017\.json: cannot be read: No such file"):
        read_split(tmp_path, SPLIT)
    file = write(tmp_path)
    file.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        read_split(tmp_path, SPLIT)
    write(tmp_path)
    (tmp_path / "train2017").rmdir()
    with pytest.raises(UserError, match="train2017: no such folder of images"):
        read_split(tmp_path, SPLIT)


@pytest.mark.parametrize("name", ["/etc/passwd", "../train2017/a.jpg", "sub/../../secret.png", ".."])
def test_an_image_outside_its_folder_is_refused(tmp_path, name):
    file = write(tmp_path, images=[{"id": 7, "file_name": name, "width": 100, "height": 50}])
    with pytest.raises(UserError) as refusal:
        read_split(tmp_path, SPLIT)
    expected = f"{file}: image 7: file_name: expected a path inside the folder of images, got {name!r}"
    assert str(refusal.value) == expected


@pytest.mark.parametrize("name", ["sub/a.jpg", "a..b.jpg", "...jpg"])
def test_an_image_in_a_folder_below_is_found(tmp_path, name):
    write(tmp_path, images=[{"id": 7, "file_name": name, "width": 100, "height": 50}])
    assert next(read_split(tmp_path, SPLIT).samples())["img_path"] == str(tmp_path / "train2017" / name)
