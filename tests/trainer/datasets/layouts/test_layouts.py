"""Data sets in the layouts that tools export, each converted to COCO."""

import json
import os
import resource
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from exported_folders import (
    BOX,
    MADE,
    YOLO_BOX,
    coco,
    coco_original,
    coco_ours,
    voc_labelimg,
    voc_original,
    write,
    write_voc,
    yolo_label_studio,
    yolo_labelimg,
    yolo_roboflow,
    yolo_ultralytics,
)
from PIL import Image

from paploss.jobs.spec import Split
from paploss.trainer.datasets.coco import read_split
from paploss.trainer.datasets.layouts.coco_folders import find_coco
from paploss.trainer.datasets.layouts.labelled import part_of
from paploss.trainer.datasets.layouts.recognition import convert, recognise
from paploss.trainer.errors import UserError


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


@pytest.mark.parametrize("folder", ["{}_images", "{}2017"])
def test_parts_of_coco_whose_images_have_the_same_names_keep_their_own(tmp_path, draw, folder):
    for part in ("train", "val"):
        draw(tmp_path / folder.format(part) / "1.jpg", tmp_path / folder.format(part) / "2.jpg")
        write(tmp_path / f"{part}_annotations.json", coco("1.jpg", "2.jpg"))
    folders = {part: found.image_folder.name for part, found in find_coco(tmp_path).items()}
    assert folders == {"train": folder.format("train"), "val": folder.format("val")}


def test_boxes_of_yolo_end_at_the_border_of_the_image_and_so_do_their_areas(tmp_path, draw):
    yolo_labelimg(tmp_path, draw)
    write(tmp_path / "a.txt", "0 0.125 0.5 0.5 1.0\n")
    convert(tmp_path, tmp_path / "out")
    (annotation,) = json.loads((tmp_path / "out/train.json").read_text())["annotations"]
    assert annotation["bbox"] == [0, 0, 24, 48]
    assert annotation["area"] == 24 * 48


def test_texts_are_found_where_the_data_set_lies_below_another_folder_of_images(tmp_path, draw):
    root = tmp_path / "images" / "cells"
    yolo_ultralytics(root, draw)
    assert convert(root, tmp_path / "out")["parts"]["train"]["objects"] == 1


def test_an_empty_line_among_the_classes_of_yolo_counts_as_in_the_tools(tmp_path, draw):
    yolo_labelimg(tmp_path, draw)
    write(tmp_path / "classes.txt", "cell\n\ndisc\nrod\n")
    write(tmp_path / "a.txt", f"\n2 {YOLO_BOX}\n")
    written = convert(tmp_path, tmp_path / "out")
    assert written["classes"] == ["cell", "class 1", "disc", "rod"]
    (annotation,) = json.loads((tmp_path / "out/train.json").read_text())["annotations"]
    assert annotation["category_id"] == 3
    write(tmp_path / "a.txt", f"\n1 {YOLO_BOX}\n")
    with pytest.raises(UserError, match=r"a\.txt, line 2: expected a class"):
        convert(tmp_path, tmp_path / "out", "yolo", overwrite=True)


@pytest.mark.parametrize("make", [yolo_labelimg, yolo_label_studio, voc_labelimg, voc_original])
def test_a_folder_that_was_converted_into_itself_is_converted_anew(tmp_path, draw, make):
    make(tmp_path, draw)
    layout, parts = recognise(tmp_path), MADE[make][1].split()
    convert(tmp_path, tmp_path)
    first = {part: (tmp_path / f"{part}.json").read_bytes() for part in parts}
    with pytest.raises(UserError, match=r"train\.json: would be converted to itself; say with --layout"):
        convert(tmp_path, tmp_path, overwrite=True)
    convert(tmp_path, tmp_path, layout, overwrite=True)
    assert {part: (tmp_path / f"{part}.json").read_bytes() for part in parts} == first


def test_an_unlabelled_image_stays_in_its_part_when_a_yolo_folder_is_converted_into_itself_again(tmp_path, draw):
    for part in ("train", "val"):
        draw(tmp_path / f"images/{part}/{part}1.jpg", tmp_path / f"images/{part}/{part}2.jpg")
        write(tmp_path / f"labels/{part}/{part}1.txt", f"0 {YOLO_BOX}\n")
    write(tmp_path / "classes.txt", "cell\n")
    for _ in range(2):
        written = convert(tmp_path, tmp_path, "yolo", overwrite=True)
        assert {part: found["images"] for part, found in written["parts"].items()} == {"train": 2, "val": 2}


def test_an_image_that_is_labelled_in_two_parts_stays_in_both_though_one_is_a_link(tmp_path, draw):
    """The check of the data set warns of it; read once, the leak would go unnoticed."""
    draw(tmp_path / "images/train/a.jpg", tmp_path / "images/train/b.jpg")
    (tmp_path / "images/val").mkdir()
    (tmp_path / "images/val/a.jpg").symlink_to(tmp_path / "images/train/a.jpg")
    for name in ("train/a", "train/b", "val/a"):
        write(tmp_path / f"labels/{name}.txt", f"0 {YOLO_BOX}\n")
    write(tmp_path / "classes.txt", "cell\n")
    written = convert(tmp_path, tmp_path / "out", "yolo")
    assert {part: found["images"] for part, found in written["parts"].items()} == {"train": 2, "val": 1}


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
