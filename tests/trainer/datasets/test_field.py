"""Inputs that people met in the field, which lie beside the repository; each kind has a test of its own too."""

from pathlib import Path

import numpy as np
import pytest

from paploss.jobs.spec import DatasetSpec, Split
from paploss.trainer.datasets.coco import CocoSplit, read_json
from paploss.trainer.datasets.diagnosis import diagnose
from paploss.trainer.datasets.layouts.recognition import convert
from paploss.trainer.datasets.split import choose_images
from paploss.trainer.evaluation import evaluate_detections

FIELD = Path(__file__).parents[3].parent / "shared" / "field"

pytestmark = pytest.mark.skipif(not FIELD.is_dir(), reason=f"{FIELD} is not there")

VERDICTS = {
    "backslash-file-names": ("warnings", "backslashes, which were taken as slashes"),
    "categories-not-sorted-by-id": ("warnings", ""),
    "exif-orientation-unrotated-sizes": ("errors", "8 of 8 images"),
    "image-ids-above-2-53": ("warnings", ""),
    "negative-area": ("warnings", "16 areas cannot be right for the boxes"),
    "normalised-boxes": ("errors", "16 of 16 boxes lie between 0 and 1"),
    "sixteen-bit-png": ("errors", "8 images have 16 bits a channel and use 11 of them"),
    "two-categories-one-name": ("warnings", "1 name belongs to several categories"),
    "val-lists-fewer-categories": ("warnings", "1 category of the training split is not listed"),
    "zero-byte-image": ("errors", "1 image in"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_each_is_judged_with_the_reason(name):
    found = diagnose(_dataset(name))
    verdict, reason = VERDICTS[name]
    assert found.report.verdict == verdict
    assert any(reason in finding.summary for finding in found.report.findings)


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("categories-not-sorted-by-id", {"disc"}, {"bar": 0, "disc": 1}),
        ("image-ids-above-2-53", {"disc", "bar"}, {"disc": 1, "bar": 1}),
        ("negative-area", {"disc", "bar"}, {"disc": 1, "bar": 1}),
        ("two-categories-one-name", {"disc (id 1)", "bar"}, {"disc (id 1)": 1, "bar": 1, "disc (id 3)": 0}),
        ("val-lists-fewer-categories", {"disc"}, {"disc": 1, "bar": -1}),
    ],
)
def test_perfect_detections_of_some_classes_score_1_there_and_0_elsewhere(name, found, expected):
    split = diagnose(_dataset(name)).splits["val"]
    metrics = evaluate_detections(split, _perfect_detections(split, found)).metrics
    assert metrics.per_class == pytest.approx(expected)
    defined = [value for value in expected.values() if value >= 0]
    assert metrics.ap == pytest.approx(sum(defined) / len(defined))


@pytest.mark.parametrize("seed", range(3))
def test_rare_classes_are_in_both_parts(seed):
    content = read_json(FIELD / "split-rare-class" / "train.json")
    chosen = choose_images(content, 40, seed)
    in_val = {one["category_id"] for one in content["annotations"] if one["image_id"] in chosen}
    in_train = {one["category_id"] for one in content["annotations"] if one["image_id"] not in chosen}
    assert len(in_val) == len(in_train) == 11


@pytest.mark.parametrize(("name", "classes"), [("voc-gb2312", ["cell", "细胞"]), ("voc-list-with-bom", ["cell"])])
def test_voc_of_other_systems_is_converted(tmp_path, name, classes):
    written = convert(FIELD / name, tmp_path)
    assert written["classes"] == classes
    assert [part["images"] for part in written["parts"].values()] == [2, 2]


def _dataset(name: str) -> DatasetSpec:
    parts = {part: Split(annotations=f"{part}.json", images="images") for part in ("train", "val")}
    return DatasetSpec(name=name, root=str(FIELD / name), **parts)


def _perfect_detections(split: CocoSplit, keys: set[str]) -> np.ndarray:
    rows = [
        (one["image_id"], *one["bbox"], 0.9, split.labels[one["category_id"]])
        for one in split.annotations
        if split.class_keys[split.labels[one["category_id"]]] in keys
    ]
    return np.array(rows, dtype=np.float64)
