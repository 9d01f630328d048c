"""Folders of labelled images as tools export them: each function makes one, `draw` writes the images."""

import json
from pathlib import Path

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
