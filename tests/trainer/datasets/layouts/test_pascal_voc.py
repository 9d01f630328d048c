import json
from pathlib import Path

import pytest

from paploss.jobs.spec import Split
from paploss.trainer.datasets.coco import read_split
from paploss.trainer.datasets.layouts.recognition import convert
from paploss.trainer.errors import UserError

CELL = "<object><name>RBC</name><bndbox><xmin>1</xmin><ymin>333</ymin><xmax>87</xmax><ymax>437</ymax></bndbox></object>"
LATER = (
    "<object><name>WBC</name><bndbox><xmin>260</xmin><ymin>177</ymin><xmax>491</xmax><ymax>376</ymax></bndbox></object>"
)
POINT = (
    "<object><name>RBC</name><bndbox><xmin>504</xmin><ymin>337</ymin><xmax>504</xmax><ymax>337</ymax></bndbox></object>"
)
DIFFICULT = CELL.replace("<bndbox>", "<difficult>1</difficult><bndbox>")
SIZE = "<size><width>640</width><height>480</height><depth>3</depth></size>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Blood cells as they are published, a few of them: one box is a point, as two of theirs are."""
    root = tmp_path / "BCCD"
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / part).mkdir(parents=True)
    for name, objects in {"a": [LATER, CELL], "b": [CELL, POINT], "c": [DIFFICULT]}.items():
        write_annotation(root, name, *objects)
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(name.encode())
    for part, names in {"train": "b\na\n", "val": "c\n"}.items():
        (root / "ImageSets" / "Main" / f"{part}.txt").write_text(names)
    return root


def write_annotation(root: Path, name: str, *objects: str) -> None:
    (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{SIZE}{''.join(objects)}</annotation>")


def test_boxes_keep_their_corners_and_classes_go_by_their_number(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "coco"
    written = convert(folder, output, "voc")
    content = json.loads((output / "train.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["b.jpg", "a.jpg"]
    assert content["images"][0] == {"id": 1, "file_name": "b.jpg", "width": 640, "height": 480}
    assert content["categories"] == [{"id": 1, "name": "RBC"}, {"id": 2, "name": "WBC"}]
    assert content["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 333, 86, 104], "area": 86 * 104, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [260, 177, 231, 199], "area": 231 * 199, "iscrowd": 0},
        {"id": 3, "image_id": 2, "category_id": 1, "bbox": [1, 333, 86, 104], "area": 86 * 104, "iscrowd": 0},
    ]
    (note,) = written.pop("notes")
    assert "3 images cannot be used" in note  # those of the fixture are none
    assert written == {
        "parts": {
            "train": {"file": str(output / "train.json"), "images": 2, "objects": 3},
            "val": {"file": str(output / "val.json"), "images": 1, "objects": 1},
        },
        "classes": ["RBC", "WBC"],
        "empty_boxes": 1,
        "layout": "Pascal VOC",
    }


def test_the_trainer_reads_what_was_written(folder: Path) -> None:
    convert(folder, folder, "voc")
    split = read_split(folder, Split(annotations="val.json", images="images"))
    (sample,) = split.samples()
    assert sample["instances"] == [{"bbox": [1, 333, 87, 437], "bbox_label": 0, "ignore_flag": 1}]
    assert Path(sample["img_path"]).read_bytes() == b"c"
    assert split.classes == ("RBC", "WBC")


def test_images_are_linked_and_files_that_exist_are_kept_unless_asked(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "coco"
    convert(folder, output, "voc")
    assert (output / "images" / "a.jpg").samefile(folder / "JPEGImages" / "a.jpg")
    with pytest.raises(UserError, match=r"train\.json: exists already"):
        convert(folder, output, "voc")
    convert(folder, output, "voc", overwrite=True)
    (output / "images" / "a.jpg").unlink()
    (output / "images" / "a.jpg").write_bytes(b"another")
    with pytest.raises(UserError, match=r"a\.jpg: another image than .* lies there"):
        convert(folder, output, "voc", overwrite=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: (root / "ImageSets/Main/train.txt").write_text("a\nc\n"),
            r"val\.txt: 'c' is in train\.txt already",
        ),
        (lambda root: (root / "ImageSets/Main/val.txt").write_text("\n"), r"val\.txt: expected at least one image"),
        (
            lambda root: (root / "ImageSets/Main/val.txt").write_text("../c\n"),
            r"val\.txt: expected names .* got '\.\./c'",
        ),
        (lambda root: (root / "Annotations/a.xml").unlink(), r"a\.xml: cannot be read: No such file"),
        (lambda root: (root / "Annotations/a.xml").write_text("<annotation>"), r"a\.xml: not XML"),
        (lambda root: (root / "JPEGImages/a.jpg").unlink(), r"JPEGImages: expected one image a\.\*, found 0"),
        (lambda root: (root / "JPEGImages/a.png").touch(), r"JPEGImages: expected one image a\.\*, found 2"),
        (lambda root: change(root, "<width>640", "<width>0"), r"a\.xml: size: expected .* above 0, got 0 x 480"),
        (lambda root: change(root, "<width>640</width>", ""), r"a\.xml: size/width: expected a number, got None"),
        (lambda root: change(root, "<name>RBC", "<name> "), r"a\.xml: object 2: name: expected a class"),
        (lambda root: change(root, "<xmax>87", "<xmax>wide"), r"a\.xml: object 2: bndbox/xmax: .* got 'wide'"),
        (lambda root: change(root, "<xmax>87", "<xmax>nan"), r"a\.xml: object 2: bndbox/xmax: .* got 'nan'"),
        (
            lambda root: change(root, "<xmax>87", "<xmax>0"),
            r"a\.xml: object 2: bndbox: expected xmin <= xmax .* 1, 333, 0",
        ),
        (
            lambda root: change(root, "<height>480", "<height>300"),
            r"a\.xml: object 2: bndbox: 1, 333, .* is outside its im",
        ),
        (
            lambda root: change(root, "<bndbox>", "<difficult>yes</difficult><bndbox>"),
            r"object 1: difficult: .* got 'yes'",
        ),
    ],
)
def test_what_is_no_voc_is_refused_by_file_and_value(folder: Path, spoil, message) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=message):
        convert(folder, folder, "voc")
    assert not list(folder.glob("*.json"))


def change(root: Path, old: str, new: str) -> None:
    file = root / "Annotations" / "a.xml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_folder_without_lists_is_no_voc(tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(UserError, match=r"ImageSets/Main: expected train\.txt, val\.txt or test\.txt"):
        convert(tmp_path, tmp_path, "voc")


def test_all_faulty_objects_are_told_at_once(folder: Path, tmp_path: Path) -> None:
    turned = CELL.replace("<xmin>1</xmin>", "<xmin>99</xmin>")
    write_annotation(folder, "a", turned, LATER, turned)
    write_annotation(folder, "b", turned)
    with pytest.raises(UserError, match=r"3 objects in .*Annotations are faulty") as raised:
        convert(folder, tmp_path / "coco", "voc")
    assert all(f"{name}: bndbox: expected xmin" in str(raised.value) for name in ("a.xml: object 3", "b.xml: object 1"))
