"""Average recall and precision-recall curves beside COCO's own numbers."""

import numpy as np
import pytest
from small_splits import CAT, DOG, make_split

from paploss.trainer.analysis.analysis import analyse
from paploss.trainer.evaluation import evaluate_detections

BADLY_LOCATED = [(3, 10, 10, 40, 50, 0.9, 0), (5, 20, 20, 100, 120, 0.8, 1), (5, 150, 150, 20, 20, 0.9, 1)]


def summarise(split, *rows):
    evaluated = evaluate_detections(split, np.array(rows, dtype=np.float64).reshape(-1, 7))
    return evaluated.metrics, analyse(evaluated, split).summary


def test_a_curve_has_its_ap_as_mean():
    metrics, summary = summarise(make_split(CAT, DOG), *BADLY_LOCATED)
    for curve, ap in (("iou_50", metrics.ap50), ("iou_75", metrics.ap75), ("mean", metrics.ap)):
        assert np.mean(getattr(summary.precision, curve)) == pytest.approx(ap, abs=1e-4)
    assert metrics.ap < metrics.ap75


def test_precision_is_the_mean_over_classes_at_each_recall():
    _, summary = summarise(make_split(CAT, DOG), *BADLY_LOCATED)
    assert set(summary.precision.iou_50) == {0.75}  # of cats 1, of dogs 1 / 2: the false detection comes first


def test_a_class_without_objects_has_no_part_in_the_curves():
    metrics, summary = summarise(make_split(CAT), *BADLY_LOCATED)
    assert metrics.ap50 == pytest.approx(1)
    assert set(summary.precision.iou_50) == {1}


def test_average_recall_counts_how_many_thresholds_an_object_is_found_at():
    _, summary = summarise(make_split(CAT, DOG), *BADLY_LOCATED)
    recall = summary.recall
    # The cat at 7 of 10 thresholds (IoU 0.8), the dog at all: with one detection an image it is not the first.
    assert (recall.at_1, recall.at_10, recall.at_100) == pytest.approx((0.35, 0.85, 0.85))
    assert (recall.small, recall.medium, recall.large) == pytest.approx((-1, 0.7, 1))


def test_a_detector_that_finds_nothing_has_an_analysis():
    _, summary = summarise(make_split(CAT, DOG))
    assert set(summary.precision.mean) == {0}
    assert summary.recall.at_100 == 0
    assert summary.errors["missed"].ap50 == 1
