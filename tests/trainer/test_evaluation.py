from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from small_splits import CAT, DOG, make_split

from paploss.trainer import evaluation
from paploss.trainer.datasets.coco import CocoSplit, checked_split
from paploss.trainer.evaluation import evaluate, evaluate_detections, undefined_because
from paploss.trainer.profiles.pipelines import test_images as packed_images


def test_perfect_detections_score_1():
    detections = np.array([[3, 10, 10, 50, 50, 0.9, 0], [5, 20, 20, 100, 120, 0.8, 1]])
    metrics = evaluate_detections(make_split(CAT, DOG), detections).metrics
    found = (metrics.ap, metrics.ap50, metrics.ap75, metrics.ap_medium, metrics.ap_large)
    assert found == pytest.approx((1,) * 5)
    assert metrics.ap_small == -1
    assert metrics.per_class == {"cat": pytest.approx(1), "dog": pytest.approx(1)}
    assert metrics.ap_by_iou == pytest.approx((1,) * 10)


def test_ap_is_the_mean_over_ten_ious():
    # Boxes of 50 by 50 that overlap by four fifths: IoU 2000 / 2500 = 0.8 with a box of 40 by 50.
    metrics = evaluate_detections(make_split(CAT), np.array([[3, 10, 10, 40, 50, 0.9, 0]])).metrics
    assert metrics.ap_by_iou == pytest.approx((1,) * 7 + (0,) * 3)
    assert (metrics.ap, metrics.ap50, metrics.ap75) == pytest.approx((0.7, 1, 1))


def test_labels_follow_category_ids():
    detections = np.array([[3, 10, 10, 50, 50, 0.9, 1], [5, 20, 20, 100, 120, 0.8, 1]])
    assert evaluate_detections(make_split(CAT, DOG), detections).metrics.per_class == {
        "cat": 0,
        "dog": pytest.approx(0.5, abs=0.02),
    }


def test_a_detector_that_finds_nothing_scores_0():
    metrics = evaluate_detections(make_split(CAT, DOG), np.zeros((0, 7))).metrics
    assert metrics.ap == 0
    assert metrics.per_class == {"cat": 0, "dog": 0}


def test_a_detection_in_a_crowd_is_no_error():
    crowd = (3, 4, [100, 100, 80, 80], 1)
    detections = np.array([[3, 100, 100, 40, 40, 0.95, 0], [3, 10, 10, 50, 50, 0.9, 0]])
    assert evaluate_detections(make_split(CAT, crowd), detections).metrics.per_class["cat"] == pytest.approx(1)
    assert evaluate_detections(make_split(CAT), detections).metrics.per_class["cat"] < 0.6


def test_a_hundred_detections_of_an_image_count():
    cats = [(3, 4, [12 * column, 12 * row, 10, 10], 0) for row in range(10) for column in range(10)]
    detections = np.array([[image, *box, 1 - number / 200, 0] for number, (image, _, box, _) in enumerate(cats)])
    metrics = evaluate_detections(make_split(*cats), detections).metrics
    assert metrics.ap == metrics.per_class["cat"] == pytest.approx(1)
    assert metrics.ap_small == pytest.approx(1)


def test_a_class_without_objects_is_undefined():
    assert evaluate_detections(make_split(CAT), np.zeros((0, 7))).metrics.per_class == {"cat": 0, "dog": -1}


def test_ap_is_given_to_its_class_whatever_the_order_of_ids():
    split = make_split(CAT, DOG)
    cat = np.array([[3, 10, 10, 50, 50, 0.9, 1]])
    reordered = replace(split, categories=split.categories[::-1])
    assert evaluate_detections(reordered, cat).metrics.per_class == {"dog": 0, "cat": pytest.approx(1)}


def test_classes_of_one_name_and_one_called_ap_have_results_of_their_own():
    split = make_split(CAT, DOG)
    found = np.array([[3, 10, 10, 50, 50, 0.9, 0]])
    same = replace(split, categories=tuple({**category, "name": "disc"} for category in split.categories))
    assert evaluate_detections(same, found).metrics.per_class == {"disc (id 4)": pytest.approx(1), "disc (id 8)": 0}
    totals = replace(split, categories=({"id": 4, "name": "AP"}, {"id": 8, "name": "AP50"}))
    assert evaluate_detections(totals, found).metrics.per_class == {"AP": pytest.approx(1), "AP50": 0}


@pytest.mark.parametrize("first", [2**53, 2**63, 10**30, "image "], ids=["above 2^53", "above 2^63", "huge", "texts"])
def test_ids_that_float64_does_not_hold_score_as_others(tmp_path, first):
    ids = [f"{first}{place}" if isinstance(first, str) else first + place for place in range(6)]
    content = {
        "images": [{"id": one, "file_name": f"{one}.png", "width": 200, "height": 200} for one in ids],
        "annotations": [
            {"image_id": one, "category_id": ids[place % 2], "bbox": [10 * place, 5, 50, 50]}
            for place, one in enumerate(ids)
        ],
        "categories": [{"id": ids[1], "name": "odd"}, {"id": ids[0], "name": "even"}],
    }
    split = checked_split(content, tmp_path / "a.json", tmp_path)
    rows = [[place + 1, 10 * place, 5, 50, 50, 0.9, 1 - place % 2] for place in range(6)]
    metrics = evaluate_detections(split, np.array(rows, dtype=np.float64)).metrics
    assert metrics.per_class == {"odd": pytest.approx(1), "even": pytest.approx(1)}


@pytest.mark.parametrize(
    ("objects", "reason"), [((), "there are no objects"), (((3, 4, [1, 1, 9, 9], 1),), "all objects are crowds")]
)
def test_why_ap_is_undefined(objects, reason):
    split = make_split(*objects)
    assert evaluate_detections(split, np.zeros((0, 7))).metrics.ap == -1
    assert undefined_because(split) == reason


class Oracle(torch.nn.Module):
    """Finds what is there, and remembers the shapes of each batch and how it was asked."""

    def __init__(self, split: CocoSplit) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.boxes = {one["image_id"]: one["bbox"] for one in split.annotations}
        self.shapes: list[list[tuple[int, ...]]] = []
        self.asked: set[tuple[bool, bool, str]] = set()

    def data_preprocessor(self, batch, training):
        return {**batch, "for_training": training}

    def forward(self, inputs, data_samples, mode, for_training):
        self.asked.add((for_training, self.training, mode))
        self.shapes.append([tuple(image.shape[1:]) for image in inputs])
        for sample in data_samples:
            x, y, width, height = self.boxes[sample.img_id]
            corners = torch.tensor([[x, y, x + width, y + height]])
            sample.pred_instances = InstanceData(bboxes=corners, scores=torch.ones(1), labels=torch.tensor([0]))
        return data_samples


@pytest.mark.parametrize("process_count", [0, 2])
def test_images_of_like_shape_share_a_batch_and_none_is_lost(tmp_path, monkeypatch, process_count):
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 2)
    first = 20_260_000_001  # float32 would round it
    split = make_split(*((first + number, 4, [5, 5, 10 + number, 20], 0) for number in range(6)))
    sides = [(40, 60), (60, 40)] * 3  # width, height
    images = [
        {"id": number, "file_name": f"{number}.png", "width": width, "height": height}
        for number, (width, height) in enumerate(sides, start=first)
    ]
    for image in images:
        cv2.imwrite(str(tmp_path / image["file_name"]), np.zeros((image["height"], image["width"], 3), np.uint8))
    split = replace(split, images=tuple(images), image_folder=tmp_path)
    detector = Oracle(split)
    assert evaluate(detector, split, packed_images(), process_count).metrics.per_class["cat"] == pytest.approx(1)
    assert detector.shapes == [[(60, 40)] * 2, [(60, 40), (40, 60)], [(40, 60)] * 2]
    assert detector.asked == {(False, False, "predict")}
