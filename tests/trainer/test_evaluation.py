from pathlib import Path

import numpy as np
import pytest

from trainer.datasets.coco import CocoSplit
from trainer.evaluation import coco_metrics


def make_split(*annotations) -> CocoSplit:
    """Boxes as (image, category, box, crowd) on two images."""
    return CocoSplit(
        annotation_file=Path("a.json"),
        image_folder=Path(),
        images=tuple({"id": one, "file_name": "", "width": 200, "height": 200} for one in (3, 5)),
        annotations=tuple(
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": crowd,
            }
            for number, (image, category, box, crowd) in enumerate(annotations, start=1)
        ),
        categories=({"id": 4, "name": "cat"}, {"id": 8, "name": "dog"}),
    )


CAT, DOG = (3, 4, [10, 10, 50, 50], 0), (5, 8, [20, 20, 100, 120], 0)


def test_perfect_detections_score_1():
    detections = np.array([[3, 10, 10, 50, 50, 0.9, 0], [5, 20, 20, 100, 120, 0.8, 1]])
    metrics = coco_metrics(make_split(CAT, DOG), detections)
    found = (metrics.ap, metrics.ap50, metrics.ap75, metrics.ap_medium, metrics.ap_large)
    assert found == pytest.approx((1,) * 5)
    assert metrics.ap_small == -1
    assert metrics.per_class == {"cat": pytest.approx(1), "dog": pytest.approx(1)}


def test_labels_follow_category_ids():
    detections = np.array([[3, 10, 10, 50, 50, 0.9, 1], [5, 20, 20, 100, 120, 0.8, 1]])
    assert coco_metrics(make_split(CAT, DOG), detections).per_class == {"cat": 0, "dog": pytest.approx(0.5, abs=0.02)}


def test_a_detector_that_finds_nothing_scores_0():
    metrics = coco_metrics(make_split(CAT, DOG), np.zeros((0, 7)))
    assert metrics.ap == 0
    assert metrics.per_class == {"cat": 0, "dog": 0}


def test_a_detection_in_a_crowd_is_no_error():
    crowd = (3, 4, [100, 100, 80, 80], 1)
    detections = np.array([[3, 100, 100, 40, 40, 0.95, 0], [3, 10, 10, 50, 50, 0.9, 0]])
    assert coco_metrics(make_split(CAT, crowd), detections).per_class["cat"] == pytest.approx(1)
    assert coco_metrics(make_split(CAT), detections).per_class["cat"] < 0.6


def test_a_class_without_objects_is_undefined():
    assert coco_metrics(make_split(CAT), np.zeros((0, 7))).per_class == {"cat": 0, "dog": -1}
