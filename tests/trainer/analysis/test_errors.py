"""Kinds of errors and their costs: by hand, by their definition, and by COCO's evaluation of mended detections."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from small_splits import CAT, DOG, make_split

from paploss.jobs.analysis import ERROR_KINDS
from paploss.trainer.analysis.errors import KINDS, ap50, error_costs, sort_detections
from paploss.trainer.evaluation import evaluate_detections
from tests.trainer.analysis.slow_errors import cost_slowly, find_missed, sort_slowly

CATS, DOGS = 0, 1


def sort(split, *rows):
    evaluated = evaluate_detections(split, np.array(rows, dtype=np.float64).reshape(-1, 7))
    return sort_detections(evaluated.coco, split, evaluated.detections)


def kinds_of(found):
    return [KINDS[kind] for kind in found.kinds]


@pytest.mark.parametrize(
    ("row", "kind", "iou"),
    [
        ((3, 10, 10, 50, 50, 0.9, CATS), "hit", 1),
        ((3, 10, 10, 50, 25, 0.9, CATS), "hit", 0.5),
        ((3, 10, 10, 50, 20, 0.9, CATS), "localisation", 0.4),
        ((3, 10, 10, 50, 5, 0.9, CATS), "localisation", 0.1),
        ((3, 10, 10, 50, 25, 0.9, DOGS), "classification", 0.5),
        ((3, 10, 10, 50, 20, 0.9, DOGS), "both", 0.4),
        ((3, 10, 10, 50, 4, 0.9, CATS), "background", 0.08),
        ((3, 10, 10, 50, 4, 0.9, DOGS), "background", 0.08),
        ((3, 100, 100, 50, 50, 0.9, CATS), "background", 0),
        ((5, 10, 10, 5, 5, 0.9, CATS), "background", 0),
    ],
)
def test_a_detection_is_what_its_overlap_says(row, kind, iou):
    found = sort(make_split(CAT, DOG), row)
    assert kinds_of(found) == [kind]
    assert found.ious == pytest.approx([iou])


def test_the_second_detection_of_an_object_is_a_duplicate():
    found = sort(make_split(CAT, DOG), (3, 10, 10, 50, 40, 0.8, CATS), (3, 10, 10, 50, 50, 0.7, CATS))
    assert kinds_of(found) == ["hit", "duplicate"]


def test_what_lies_in_a_crowd_is_no_error_and_a_crowd_is_not_missed():
    found = sort(make_split(CAT, (3, 4, [100, 100, 80, 80], 1)), (3, 110, 110, 20, 20, 0.9, CATS))
    assert kinds_of(found) == []
    assert found.is_missed.tolist() == [True]


def test_an_object_is_missed_where_nothing_is_near_it():
    split = make_split(CAT, DOG)
    assert sort(split).is_missed.tolist() == [True, True]
    assert sort(split, (3, 10, 10, 50, 20, 0.9, CATS)).is_missed.tolist() == [False, True]  # badly located
    assert sort(split, (3, 10, 10, 50, 50, 0.9, DOGS)).is_missed.tolist() == [False, True]  # of another class
    assert sort(split, (3, 10, 10, 50, 20, 0.9, DOGS)).is_missed.tolist() == [True, True]  # both


def test_each_kind_costs_what_mending_it_alone_wins():
    split = make_split(CAT, DOG)
    costs = error_costs(sort(split, (3, 10, 10, 50, 20, 0.9, CATS), (5, 20, 20, 100, 120, 0.8, CATS)))
    # Each class has one object that is not found; mended, one of two classes is right but for a false positive, or is.
    assert costs["localisation"].ap50 == pytest.approx(0.5)
    assert costs["classification"].ap50 == pytest.approx(0.5)
    assert {kind for kind, cost in costs.items() if cost.ap50} == {"localisation", "classification"}
    nothing = error_costs(sort(split))
    assert {kind: (cost.ap50, cost.count) for kind, cost in nothing.items() if cost.ap50} == {"missed": (1, 2)}


def test_a_class_that_is_missed_altogether_costs_what_it_takes_from_the_mean():
    found = sort(make_split(CAT, DOG), (3, 10, 10, 50, 50, 0.9, CATS), (5, 150, 5, 20, 10, 0.7, DOGS))
    assert error_costs(found)["missed"].ap50 == pytest.approx(0.5)


def test_errors_below_the_threshold_are_not_counted():
    rows = [(3, 10, 10, 50, 50, 0.9, CATS), (5, 20, 20, 100, 120, 0.8, DOGS), (5, 150, 5, 20, 10, 0.7, DOGS)]
    found = sort(make_split(CAT, DOG), *rows)
    assert found.threshold == 0.8
    assert error_costs(found)["background"].count == 0
    early = sort(make_split(CAT, DOG), *rows[:2], (5, 150, 5, 20, 10, 0.95, DOGS))
    assert early.threshold == 0.8
    assert error_costs(early)["background"].count == 1


def test_a_threshold_takes_all_detections_of_its_score():
    rows = [(3, 10, 10, 50, 50, 0.9, CATS), *((3, 100, 20 * place, 9, 9, 0.9, CATS) for place in range(5))]
    found = sort(make_split(CAT, DOG), *rows, (5, 20, 20, 100, 120, 0.8, DOGS))
    assert found.threshold == 0.8


def scattered(seed):
    """Objects of two classes and detections around them and elsewhere; scores differ."""
    generator = np.random.default_rng(seed)
    annotations, rows = [], []
    for image in range(1, 5):
        for number in range(generator.integers(1, 7)):
            box = [*generator.uniform(0, 120, 2), *generator.uniform(20, 70, 2)]
            annotations.append((image, (4, 8)[generator.integers(2)], box, int(number == 3)))
            for _ in range(generator.integers(0, 5)):
                moved = np.maximum(np.array(box) + generator.normal(0, 10, 4), 1)
                rows.append((image, *moved, generator.uniform(), generator.integers(2)))
        rows.append((image, *generator.uniform(0, 120, 2), *generator.uniform(20, 70, 2), generator.uniform(), 0))
    split = make_split(*annotations)
    return replace(split, images=tuple({**split.images[0], "id": one} for one in range(1, 5))), rows


@pytest.mark.parametrize("seed", range(12))
def test_kinds_are_those_of_their_definition(seed):
    split, rows = scattered(seed)
    found, slow = sort(split, *rows), sort_slowly(split, rows)
    assert kinds_of(found) == [one.kind for one in slow if one.kind != "ignored"]
    assert len(set(kinds_of(found))) >= 4
    expected = [one.object["id"] if one.object else None for one in slow if one.kind != "ignored"]
    ids = [split.annotations[place]["id"] for place in found.annotations]
    assert [None if place < 0 else ids[place] for place in found.objects] == expected
    assert {ids[place] for place in np.flatnonzero(found.is_missed)} == find_missed(split, slow)


@pytest.mark.parametrize("kind", ERROR_KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_costs_are_those_of_an_evaluation_of_mended_detections(seed, kind):
    split, rows = scattered(seed)
    assert error_costs(sort(split, *rows))[kind].ap50 == pytest.approx(cost_slowly(split, rows, kind), abs=1e-9)


def test_the_scattered_scenes_have_every_kind_of_error():
    kinds = Counter(kind for seed in range(12) for kind in kinds_of(sort(scattered(seed)[0], *scattered(seed)[1])))
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 5


@pytest.mark.parametrize("seed", range(12))
def test_what_it_starts_from_is_cocos_ap50(seed):
    split, rows = scattered(seed)
    evaluated = evaluate_detections(split, np.array(rows, dtype=np.float64))
    assert ap50(sort_detections(evaluated.coco, split, evaluated.detections)) == pytest.approx(evaluated.metrics.ap50)
