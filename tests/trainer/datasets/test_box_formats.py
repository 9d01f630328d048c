"""Boxes in other formats than COCO's are recognised, and COCO's own are not mistaken for them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paploss.trainer.datasets.box_formats import find_other_format, find_other_parts, stays_in_the_corner

SIZE = (200, 100)


def make_boxes(count: int, seed: int = 0) -> np.ndarray:
    """Boxes `[x, y, width, height]` all over an image of SIZE."""
    generator = np.random.default_rng(seed)
    sides = generator.uniform(0.05, 0.4, size=(count, 2)) * SIZE
    return np.hstack([generator.uniform(0, 1, size=(count, 2)) * (np.array(SIZE) - sides), sides])


def judge(boxes: np.ndarray, areas=None) -> str | None:
    return find_other_format(boxes.tolist(), [SIZE] * len(boxes), [None] * len(boxes) if areas is None else areas)


def as_corners(boxes: np.ndarray) -> np.ndarray:
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def as_centres(boxes: np.ndarray) -> np.ndarray:
    return np.hstack([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]])


@given(seed=st.integers(0, 10**6), count=st.integers(1, 60))
@settings(max_examples=60)
def test_boxes_of_coco_are_not_mistaken(seed, count):
    boxes = make_boxes(count, seed)
    assert judge(boxes) is None
    assert judge(boxes, (boxes[:, 2] * boxes[:, 3]).tolist()) is None


@given(seed=st.integers(0, 10**6), count=st.integers(8, 60))
@settings(max_examples=60)
def test_other_formats_are_recognised(seed, count):
    boxes = make_boxes(count, seed)
    assert "between 0 and 1" in judge(boxes / [*SIZE, *SIZE])
    assert "between 0 and 1" in judge(as_corners(boxes) / [*SIZE, *SIZE])
    assert "corners" in judge(as_corners(boxes))


@given(seed=st.integers(0, 10**6), count=st.integers(1, 60))
@settings(max_examples=60)
def test_boxes_of_yolo_are_not_mistaken_also_where_they_reach_outside(seed, count):
    boxes = as_centres(make_boxes(count, seed)) / [*SIZE, *SIZE]
    assert find_other_parts(boxes.tolist()) is None
    if count >= 20:
        assert find_other_parts((boxes * [1, 1, 1.5, 1.5]).tolist()) is None


@pytest.mark.parametrize("seed", range(10))
def test_other_formats_in_place_of_yolos_are_recognised(seed):
    boxes = make_boxes(60, seed)
    assert "corners x1 y1 x2 y2" in find_other_parts((as_corners(boxes) / [*SIZE, *SIZE]).tolist())
    assert "by the upper left corner" in find_other_parts((boxes / [*SIZE, *SIZE]).tolist())
    assert find_other_parts((boxes[:5] / [*SIZE, *SIZE]).tolist()) is None  # too few to say


@pytest.mark.parametrize("seed", range(10))
def test_centres_are_recognised_where_they_reach_outside(seed):
    assert "centres" in judge(as_centres(make_boxes(60, seed)))


def test_corners_in_the_upper_left_are_recognised_by_their_areas():
    boxes = make_boxes(10) * [0.3, 0.3, 0.3, 0.3]
    assert "corners" in judge(as_corners(boxes), (boxes[:, 2] * boxes[:, 3]).tolist())


def test_one_normalised_box_is_enough_and_one_pixel_is_none():
    assert judge(np.array([[0.25, 0.5, 0.1, 0.2]])) is not None
    assert judge(np.array([[0.0, 0.0, 1.0, 1.0]])) is None


def test_boxes_of_a_larger_size_reach_outside():
    # Where the outermost lie wholly outside, that is an error of its own.
    assert judge(make_boxes(60) * 1.9) is not None


def test_boxes_of_a_smaller_size_stay_in_the_corner():
    boxes = make_boxes(40)
    assert not stays_in_the_corner(boxes.tolist(), [SIZE] * 40)
    assert stays_in_the_corner((boxes / 2).tolist(), [SIZE] * 40)
    assert not stays_in_the_corner((boxes[:5] / 2).tolist(), [SIZE] * 5)
