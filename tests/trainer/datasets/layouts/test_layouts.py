"""Data sets in the layouts that tools export, each converted to COCO."""

import json
import os
import resource
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from paploss.jobs.spec import Split
from paploss.trainer.datasets.coco import read_split
from paploss.trainer.datasets.layouts.coco_folders import find_coco
from paploss.trainer.datasets.layouts.labelled import part_of
from paploss.trainer.datasets.layouts.recognition import convert, recognise
from paploss.trainer.errors import UserError

OBJECT = (
    "<object><name>{name}</name><bndbox><xmin>8</xmin><ymin>6</ymin><xmax>24</xmax><ymax>30</ymax></bndbox></object>"
)
XML = "<annotation><filename>{image}</filename><size><width>64</width><height>48</height></size>{objects}</annotation>"
BOX = [8, 6, 16, 24]
YOLO_BOX = "0.25 0.375 0.25 0.5"
"""The same, by its centre and size as parts of 64 x 48 px."""


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def write_voc(file: Path, image: str, *names: str) -> None:
    write(file, XML.format(image=image, objects="".join(OBJECT.format(name=name) for name in names)))


def coco(*names: str, prefix: str = "", first_category: int = 1) -> str:
    content = {
        "images": [
            {"id": one, "file_name": prefix + name, "width": 64, "height": 48} for one, name in enumerate(names)
        ],
        "annotations": [
            {"id": one, "image_id": one, "category_id": first_category, "bbox": BOX, "area": 300, "iscrowd": 0}
            for one in range(len(names))
        ],
        "categories": [{"id": first_category, "name": "cell"}],
    }
    return json.dumps(content)


def voc_original(root: Path, draw) -> None:
    for name in "ab":
        write_voc(root / f"Annotations/{name}.xml", f"{name}.jpg", "cell")
        draw(root / f"JPEGImages/{name}.jpg")
        write(root / f"JPEGImages/{name}.json", "{}")  # a labelling tool's own
        write(root / f"JPEGImages/._{name}.jpg", "macOS")
        write(root / f"Annotations/._{name}.xml", "macOS")
    write(root / "ImageSets/Main/train.txt", "a\n")
    write(root / "ImageSets/Main/val.txt", "b\n")


def voc_lists_with_suffixes(root: Path, draw) -> None:
    voc_original(root, draw)
    write(root / "ImageSets/Main/train.txt", "a.jpg\n")
    write(root / "ImageSets/Main/val.txt", "JPEGImages/b.jpg\n")


def voc_lists_with_flags(root: Path, draw) -> None:
    voc_original(root, draw)
    write(root / "ImageSets/Main/train.txt", "a  1\n")
    write(root / "ImageSets/Main/val.txt", "b -1\n")


def voc_lists_of_classes(root: Path, draw) -> None:
    voc_original(root, draw)
    for part, name in (("train", "a"), ("val", "b")):
        (root / f"ImageSets/Main/{part}.txt").unlink()
        write(root / f"ImageSets/Main/cell_{part}.txt", f"{name}  1\n")
        write(root / f"ImageSets/Main/other_{part}.txt", f"{name} -1\n")


def voc_cvat(root: Path, draw) -> None:
    for name in "ab":
        write_voc(root / f"Annotations/frames/{name}.xml", f"frames/{name}.png", "cell")
        draw(root / f"JPEGImages/frames/{name}.png")
    write(root / "ImageSets/Main/default.txt", "frames/a\nframes/b\n")
    write(root / "labelmap.txt", "# label:color_rgb:parts:actions\ncell:0,0,0::\n")


def voc_label_studio(root: Path, draw) -> None:
    for name in "ab":
        write_voc(root / f"Annotations/1f-{name}.xml", f"1f-{name}", "cell")
        draw(root / f"images/1f-{name}.jpg")


def voc_kaggle(root: Path, draw) -> None:
    for name in "ab":
        write_voc(root / f"annotations/{name}.xml", f"{name}.png", "cell")
        draw(root / f"images/{name}.png")


def voc_folders_of_parts(root: Path, draw) -> None:
    for part in ("train", "val"):
        write_voc(root / f"Annotations/{part}/{part}.xml", f"{part}.jpg", "cell")
        draw(root / f"JPEGImages/{part}/{part}.jpg")


def voc_parts_with_folders(root: Path, draw) -> None:
    for part in ("train", "test"):
        write_voc(root / f"{part}/annotations/{part}.xml", f"{part}.jpg", "cell")
        draw(root / f"{part}/images/{part}.jpg")


def voc_trainval(root: Path, draw) -> None:
    voc_original(root, draw)
    (root / "ImageSets/Main/train.txt").rename(root / "ImageSets/Main/trainval.txt")
    (root / "ImageSets/Main/val.txt").rename(root / "ImageSets/Main/test.txt")


def voc_roboflow(root: Path, draw) -> None:
    for part in ("train", "valid", "test"):
        write_voc(root / f"{part}/{part}_jpg.rf.1.xml", f"{part}_jpg.rf.1.jpg", "cell")
        draw(root / f"{part}/{part}_jpg.rf.1.jpg")
    write(root / "README.roboflow.txt", "cells")


def voc_labelimg(root: Path, draw) -> None:
    for name in "ab":
        write_voc(root / f"{name}.xml", f"{name}.jpeg", "cell")
        draw(root / f"{name}.jpeg")


def yolo_ultralytics(root: Path, draw) -> None:
    for part in ("train", "val"):
        draw(root / f"images/{part}/{part}1.jpg", root / f"images/{part}/{part}2.jpg")
        write(root / f"labels/{part}/{part}1.txt", f"0 {YOLO_BOX}\n")  # the second shows nothing
    write(root / "data.yaml", "path: ../datasets/cells\ntrain: images/train\nval: images/val\nnames:\n  0: cell\n")


def yolo_roboflow(root: Path, draw) -> None:
    for part in ("train", "valid", "test"):
        draw(root / f"{part}/images/{part}.rf.1.jpg")
        write(root / f"{part}/labels/{part}.rf.1.txt", f"0 {YOLO_BOX}")
    paths = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    write(root / "data.yaml", f"{paths}\nnc: 1\nnames: ['cell']\n\nroboflow:\n  version: 1\n")


def yolo_outlines(root: Path, draw) -> None:
    draw(root / "images/train/a.jpg", root / "images/val/b.jpg")
    write(root / "labels/train/a.txt", "0 0.125 0.125 0.375 0.125 0.375 0.625\n")
    write(
        root / "labels/val/b.txt", "0 0.125 0.125 0.375 0.2 0.375 0.625 0.2 0.625\n0 0.125 0.125 0.375 0.2 0.3 0.625\n"
    )
    write(root / "data.yaml", "train: images/train\nval: images/val\nnames: [cell]\n")


def yolo_keypoints(root: Path, draw) -> None:
    draw(root / "images/train/a.jpg")
    write(root / "labels/train/a.txt", f"0 {YOLO_BOX} 0.3 0.3 2 0.4 0.4 1\n")
    write(root / "data.yaml", "train: images/train\nval: images/train\nkpt_shape: [2, 3]\nnames: [cell]\n")


def yolo_cvat(root: Path, draw) -> None:
    for name in "ab":
        draw(root / f"obj_train_data/{name}.png")
        write(root / f"obj_train_data/{name}.txt", f"0 {YOLO_BOX}\n")
    write(root / "obj.names", "cell\n")
    write(root / "obj.data", "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    write(root / "train.txt", "data/obj_train_data/a.png\ndata/obj_train_data/b.png\n")


def yolo_label_studio(root: Path, draw) -> None:
    draw(root / "images/1f-a.jpg")
    write(root / "labels/1f-a.txt", f"0 {YOLO_BOX}\n")
    write(root / "classes.txt", "cell\n")
    write(root / "notes.json", '{"categories": [{"id": 0, "name": "cell"}], "info": {}}')


def yolo_labelimg(root: Path, draw) -> None:
    draw(root / "a.jpg", root / "b.jpg")
    write(root / "a.txt", f"0 {YOLO_BOX}\n")
    write(root / "classes.txt", "cell\r\n")


def coco_original(root: Path, draw) -> None:
    for part in ("train", "val"):
        draw(root / f"{part}2017/{part}.jpg")
        write(root / f"annotations/instances_{part}2017.json", coco(f"{part}.jpg"))
        write(root / f"annotations/captions_{part}2017.json", '{"images": [], "annotations": []}')
    unlabelled = json.loads(coco("test.jpg"))
    del unlabelled["annotations"]
    write(root / "annotations/image_info_test2017.json", json.dumps(unlabelled))


def coco_ours(root: Path, draw) -> None:
    draw(root / "images/a.jpg", root / "images/b.jpg")
    write(root / "train.json", coco("a.jpg"))
    write(root / "val.json", coco("b.jpg"))
    write(root / "search_train.json", coco("a.jpg"))


def coco_roboflow(root: Path, draw) -> None:
    for part in ("train", "valid", "test"):
        draw(root / f"{part}/{part}.rf.1.jpg")
        write(root / f"{part}/_annotations.coco.json", coco(f"{part}.rf.1.jpg", first_category=0))


def coco_cvat(root: Path, draw) -> None:
    draw(root / "images/default/a.png")
    write(root / "annotations/instances_default.json", coco("a.png"))


def coco_label_studio(root: Path, draw) -> None:
    draw(root / "images/1f-a.jpg")
    write(root / "result.json", coco("1f-a.jpg", prefix="images\\", first_category=0))


def coco_fiftyone(root: Path, draw) -> None:
    draw(root / "data/a.jpg")
    write(root / "labels.json", coco("a.jpg"))


MADE = {
    voc_original: ("voc", "train val"),
    voc_lists_with_suffixes: ("voc", "train val"),
    voc_lists_with_flags: ("voc", "train val"),
    voc_lists_of_classes: ("voc", "train val"),
    voc_cvat: ("voc", "train"),
    voc_label_studio: ("voc", "train"),
    voc_kaggle: ("voc", "train"),
    voc_folders_of_parts: ("voc", "train val"),
    voc_parts_with_folders: ("voc", "train test"),
    voc_trainval: ("voc", "train test"),
    voc_roboflow: ("voc", "train val test"),
    voc_labelimg: ("voc", "train"),
    yolo_ultralytics: ("yolo", "train val"),
    yolo_roboflow: ("yolo", "train val test"),
    yolo_outlines: ("yolo", "train val"),
    yolo_keypoints: ("yolo", "train val"),
    yolo_cvat: ("yolo", "train"),
    yolo_label_studio: ("yolo", "train"),
    yolo_labelimg: ("yolo", "train"),
    coco_original: ("coco", "train val"),
    coco_ours: ("coco", "train val"),
    coco_roboflow: ("coco", "train val test"),
    coco_cvat: ("coco", "train"),
    coco_label_studio: ("coco", "train"),
    coco_fiftyone: ("coco", "train"),
}


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_what_tools_export_becomes_coco(tmp_path, draw, make):
    root, output = tmp_path / "given", tmp_path / "coco"
    root.mkdir()
    make(root, draw)
    layout, parts = MADE[make]
    assert recognise(root) == layout
    written = convert(root, output)
    assert list(written["parts"]) == parts.split()
    assert written["classes"] == ["cell"]
    for part in parts.split():
        split = read_split(output, Split(annotations=f"{part}.json", images="images"))
        assert split.annotations
        for annotation in split.annotations:
            assert annotation["bbox"] == pytest.approx(BOX, abs=1e-6)
        assert all((output / "images" / image["file_name"]).is_file() for image in split.images)


def test_areas_of_outlines_are_kept(tmp_path, draw):
    coco_ours(tmp_path, draw)
    convert(tmp_path, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "train.json").read_text())["annotations"][0]["area"] == 300


def test_images_of_one_name_in_two_folders_keep_their_folders(tmp_path, draw):
    for part in ("train", "val"):
        draw(tmp_path / f"images/{part}/1.jpg")
        write(tmp_path / f"labels/{part}/1.txt", f"0 {YOLO_BOX}\n")
    write(tmp_path / "data.yaml", "train: images/train\nval: images/val\nnames: [cell]\n")
    convert(tmp_path, tmp_path / "out")
    names = {
        part: json.loads((tmp_path / f"out/{part}.json").read_text())["images"][0]["file_name"]
        for part in ("train", "val")
    }
    assert names == {"train": "images/train/1.jpg", "val": "images/val/1.jpg"}


def test_images_of_a_yolo_folder_elsewhere_stay_inside_the_output(tmp_path, draw, monkeypatch):
    for part in ("train", "val"):
        draw(tmp_path / f"elsewhere/images/{part}/1.jpg")
        write(tmp_path / f"elsewhere/labels/{part}/1.txt", f"0 {YOLO_BOX}\n")
    write(tmp_path / "data/data.yaml", "path: ../elsewhere\ntrain: images/train\nval: images/val\nnames: [cell]\n")
    monkeypatch.chdir(tmp_path)
    convert(Path("data"), Path("out"))
    for part in ("train", "val"):
        split = read_split(tmp_path / "out", Split(annotations=f"{part}.json", images="images"))
        assert (split.image_folder / split.images[0]["file_name"]).is_file()


@pytest.mark.parametrize("make", [voc_original, voc_labelimg, yolo_ultralytics, yolo_label_studio, coco_original])
def test_folders_may_be_links_and_what_is_hidden_is_left_out(tmp_path, draw, make):
    make(tmp_path / "disk", draw)
    convert(tmp_path / "disk", tmp_path / "expected")
    for one in [*(tmp_path / "disk").rglob("*")]:
        if one.is_file():  # as Jupyter leaves copies
            write(one.parent / ".ipynb_checkpoints" / f"{one.stem}-checkpoint{one.suffix}", "")
            (one.parent / ".ipynb_checkpoints" / f"{one.stem}-checkpoint{one.suffix}").write_bytes(one.read_bytes())
    (tmp_path / "data").mkdir()
    for one in (tmp_path / "disk").iterdir():
        (tmp_path / "data" / one.name).symlink_to(one)
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    convert(tmp_path / "data", tmp_path / "found")
    for file in (tmp_path / "expected").glob("*.json"):
        assert (tmp_path / "found" / file.name).read_bytes() == file.read_bytes()


def test_a_yolo_description_without_images_is_refused(tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    write(tmp_path / "data.yaml", "train: images/train\nnames: [cell]\n")
    with pytest.raises(UserError, match="expected images"):
        convert(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("instances_train2017", "train"),
        ("valid", "val"),
        ("dev", "val"),
        ("minival2014", "val"),
        ("testImages", "test"),
        ("valves_train", "train"),
        ("devices-test", "test"),
        ("latest_val", "val"),
        ("instances_trainval", None),
        ("test-dev2017", None),
        ("VOCdevkit", None),
        ("images", None),
    ],
)
def test_the_part_that_a_name_tells(name, part):
    assert part_of(name) == part


def test_a_part_of_yolo_that_is_not_there_is_not_another_part(tmp_path, draw):
    draw(tmp_path / "images/1.jpg")
    write(tmp_path / "labels/1.txt", f"0 {YOLO_BOX}\n")
    write(tmp_path / "data.yaml", "train: train/images\nval: valid/images\nnames: [cell]\n")
    with pytest.raises(UserError, match=r"'train/images' and 'valid/images' both lead to .*images: one of them"):
        convert(tmp_path, tmp_path / "out")


def test_a_test_part_that_a_yolo_description_names_and_that_is_not_there_is_told(tmp_path, draw):
    root = tmp_path / "given"
    yolo_roboflow(root, draw)
    shutil.rmtree(root / "test")
    written = convert(root, tmp_path / "out")
    assert list(written["parts"]) == ["train", "val"]
    assert written["notes"] == [f"{root}/data.yaml: test: '../test/images' is not there, below {root}"]
    shutil.rmtree(root / "valid")
    with pytest.raises(UserError, match=r"'\.\./valid/images' is not there"):
        convert(root, tmp_path / "out")


def test_yolo_boxes_in_another_format_are_refused(tmp_path, draw):
    yolo_labelimg(tmp_path, draw)
    write(tmp_path / "a.txt", "0 0.1 0.1 0.5 0.6\n" * 6)
    with pytest.raises(UserError, match="the 6 boxes look like corners"):
        convert(tmp_path, tmp_path / "out")


def test_of_voc_the_folder_with_the_lists_is_asked_for(tmp_path, draw):
    for year in ("VOC2007", "VOC2012"):
        voc_original(tmp_path / year, draw)
    with pytest.raises(UserError, match=r"expected the folder of one data set, .* is in VOC2007, VOC2012"):
        convert(tmp_path, tmp_path / "out")


def test_a_yolo_description_that_is_not_yaml_is_named(tmp_path, draw):
    yolo_ultralytics(tmp_path, draw)
    write(tmp_path / "data.yaml", 'path: "C:\\Users\\bob"\ntrain: images/train\nnames: [cell]\n')
    for file in tmp_path.glob("*.y*ml"):
        if file.name != "data.yaml":
            file.unlink()
    with pytest.raises(UserError, match=r"data\.yaml: not valid YAML"):
        convert(tmp_path, tmp_path / "out")


def test_of_turned_images_of_yolo_a_note_is_made_as_their_boxes_say_no_size(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(np.zeros((48, 64, 3), dtype=np.uint8)).save(tmp_path / "1.jpg", exif=tags)
    write(tmp_path / "1.txt", f"0 {YOLO_BOX}\n")
    write(tmp_path / "classes.txt", "cell\n")
    notes = convert(tmp_path, tmp_path / "out")["notes"]
    assert any("turned by its EXIF" in note or "turned by their EXIF" in note for note in notes), notes


def test_a_copy_that_a_full_disk_cuts_off_is_removed_and_named(tmp_path, draw, monkeypatch):
    yolo_labelimg(tmp_path / "data", draw)
    cv2.imwrite(str(tmp_path / "data/b.jpg"), np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8))

    def refuse(*_: object) -> None:
        raise OSError(18, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"out/images/b\.jpg: cannot be written"):
            convert(tmp_path / "data", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "out/images/b.jpg").exists()
    convert(tmp_path / "data", tmp_path / "out")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.1 0.1 0.4 0.1 0.5 0.6 0.1 0.6", "rotated boxes"),
        ("0 10 20 30 40", "a.txt, line 1: expected parts of the image, from 0 to 1"),
        ("3 0.5 0.5 0.1 0.1", "a.txt, line 1: expected a class of 1, from 0"),
        ("cell 0.5 0.5 0.1 0.1", "a.txt, line 1: expected a class and four numbers"),
        ("0 0.5 0.5 0.1", "a.txt, line 1: expected a class and four numbers"),
        ("0 0.5 0.5 0.1 nan", "a.txt, line 1: expected finite numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "a.txt, line 1: expected a class and four numbers"),
    ],
)
def test_what_is_no_yolo_is_refused_by_file_and_line(tmp_path, draw, line, message):
    yolo_labelimg(tmp_path, draw)
    write(tmp_path / "a.txt", line)
    with pytest.raises(UserError, match=message):
        convert(tmp_path, tmp_path / "out")
    assert not list(tmp_path.glob("out/*.json"))


def test_sizes_of_voc_are_compared_with_the_images_and_filled_in(tmp_path, draw):
    voc_original(tmp_path, draw)
    file = tmp_path / "Annotations/a.xml"
    text = file.read_text()
    file.write_text(text.replace("<width>64", "<width>48").replace("<height>48", "<height>64"))
    with pytest.raises(UserError, match=r"a\.xml: 48 x 64 px, .*a\.jpg has 64 x 48 px"):
        convert(tmp_path, tmp_path / "out")
    file.write_text(text.replace("<width>64", "<width>0").replace("<height>48", "<height>0"))
    written = convert(tmp_path, tmp_path / "out")
    assert "1 file has no size: that of the image was taken (a.xml)" in written["notes"][0]


def test_an_image_of_voc_that_is_named_by_a_long_address_is_not_there(tmp_path, draw):
    voc_original(tmp_path, draw)
    (tmp_path / "JPEGImages/a.jpg").unlink()
    write_voc(tmp_path / "Annotations/a.xml", "https://example.org/a.jpg?key=" + "0" * 300, "cell")
    with pytest.raises(UserError, match=r"JPEGImages: expected one image a\.\*, found 0"):
        convert(tmp_path, tmp_path / "out")


def test_rotated_boxes_of_voc_are_refused_by_name(tmp_path, draw):
    voc_labelimg(tmp_path, draw)
    file = tmp_path / "a.xml"
    file.write_text(file.read_text().replace("bndbox", "robndbox"))
    with pytest.raises(UserError, match=r"a\.xml: object 1: robndbox: rotated boxes"):
        convert(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "text", "hint"),
    [
        ("annotations.xml", "<annotations/>", "export COCO 1.0"),
        ("project.json", "[]", "in Label Studio, export COCO"),
        ("a.txt", "", "neither COCO, Pascal VOC nor YOLO"),
    ],
)
def test_a_folder_in_no_known_layout_is_refused_with_a_hint(tmp_path, file, text, hint):
    write(tmp_path / file, text)
    with pytest.raises(UserError, match=hint):
        recognise(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        recognise(tmp_path / "none")


def test_several_files_of_one_part_are_named(tmp_path, draw):
    draw(tmp_path / "a.jpg")
    for year in (2014, 2017):
        write(tmp_path / f"instances_train{year}.json", coco("a.jpg"))
    with pytest.raises(UserError, match=r"several files may be of the split 'train'.*2014.*2017"):
        recognise(tmp_path)


def test_after_a_split_no_image_is_in_two_splits(tmp_path, draw):
    """As the tutorial does it: a training set that was split, and a test set."""
    draw(*(tmp_path / f"images/{name}.jpg" for name in "abt"))
    for name, images in (("train", "ab"), ("search_train", "a"), ("search_val", "b"), ("test", "t")):
        write(tmp_path / f"{name}.json", coco(*(f"{image}.jpg" for image in images)))
    files = {part: found.annotation_file.name for part, found in find_coco(tmp_path).items()}
    assert files == {"train": "search_train.json", "val": "search_val.json", "test": "test.json"}
    write(tmp_path / "val.json", coco("t.jpg"))
    files = {part: found.annotation_file.name for part, found in find_coco(tmp_path).items()}
    assert files == {"train": "train.json", "val": "val.json", "test": "test.json"}


@pytest.mark.parametrize("content", [b'{"images": [', b'["\xe9"]'], ids=["cut", "Latin-1"])
def test_a_training_part_that_cannot_be_read_is_not_passed_over(tmp_path, draw, content):
    coco_ours(tmp_path, draw)
    (tmp_path / "search_train.json").unlink()
    (tmp_path / "train.json").write_bytes(content)
    write(tmp_path / "notes.json", "not JSON either")
    with pytest.raises(UserError, match=r"train\.json: not JSON"):
        recognise(tmp_path)


@pytest.mark.parametrize("kind", ["missing", "linked to itself", "of an impossible name", "a folder"])
def test_an_image_that_cannot_be_converted_is_named(tmp_path, draw, kind):
    coco_ours(tmp_path, draw)
    content = json.loads((tmp_path / "train.json").read_text())
    name = "odd\ud800.jpg" if kind == "of an impossible name" else "odd.jpg"
    content["images"].append({"id": 77, "file_name": name, "width": 64, "height": 48})
    write(tmp_path / "train.json", json.dumps(content))
    if kind == "linked to itself":
        (tmp_path / "images" / "odd.jpg").symlink_to("odd.jpg")
    elif kind == "a folder":
        (tmp_path / "images" / "odd.jpg").mkdir()
    with pytest.raises(UserError, match=r"odd.*\.jpg: cannot be read: "):
        convert(tmp_path, tmp_path / "out")
