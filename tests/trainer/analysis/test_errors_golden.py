"""Kinds of errors and their costs against the numbers of TIDE's own program, and what differs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_splits import make_split

from paploss.jobs.analysis import ERROR_KINDS
from paploss.trainer.analysis.errors import KINDS, ap50, error_costs, sort_detections
from paploss.trainer.evaluation import evaluate_detections
from tests.trainer.analysis.slow_errors import cost_as_tidecv, sort_slowly

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "tide.npz")
SCATTERED = ("scattered_0", "scattered_1", "scattered_2", "a_class_missed")
BLOOD_CELLS = ("blood_cells_0", "blood_cells_1", "blood_cells_2")


def case(name):
    """Objects and detections of a golden case, as the evaluation takes them."""
    objects, detections = GOLDEN[f"{name}_objects"], GOLDEN[f"{name}_detections"]
    split = make_split(*((int(row[0]), int(row[1]), list(row[2:6]), int(row[6:].any())) for row in objects))
    images = tuple({**split.images[0], "id": int(image)} for image in np.unique(objects[:, 0]))
    categories = tuple({"id": label, "name": str(label)} for label in range(3))
    return replace(split, images=images, categories=categories), detections[:, [0, 3, 4, 5, 6, 2, 1]]


def sort(split, detections):
    evaluated = evaluate_detections(split, detections)
    return sort_detections(evaluated.coco, split, evaluated.detections)


def counts_of(found):
    return [(found.kinds == KINDS.index(kind)).sum() for kind in ERROR_KINDS if kind != "missed"] + [
        found.is_missed.sum()
    ]


@pytest.mark.parametrize("name", SCATTERED)
def test_errors_are_sorted_as_by_tidecv(name):
    found = sort(*case(name))
    assert counts_of(found) == GOLDEN[f"{name}_counts"].tolist()
    assert ap50(found) == pytest.approx(GOLDEN[f"{name}_ap50"], abs=1e-9)


@pytest.mark.parametrize("name", SCATTERED)
def test_costs_are_those_of_tidecv_but_for_its_two_rules(name):
    split, detections = case(name)
    as_tidecv = [cost_as_tidecv(split, detections.tolist(), kind) for kind in ERROR_KINDS]
    assert as_tidecv == pytest.approx(GOLDEN[f"{name}_costs"], abs=1e-9)
    costs = error_costs(sort(split, detections))
    for kind in ("both", "duplicate", "background"):
        assert costs[kind].ap50 == pytest.approx(GOLDEN[f"{name}_costs"][ERROR_KINDS.index(kind)], abs=1e-9)


def test_the_rules_matter_in_these_cases():
    costs = {name: error_costs(sort(*case(name))) for name in SCATTERED}
    more = {
        (name, kind): 100 * (costs[name][kind].ap50 - GOLDEN[f"{name}_costs"][place])
        for name in SCATTERED
        for place, kind in enumerate(ERROR_KINDS)
    }
    assert more["scattered_0", "localisation"] == pytest.approx(1.36, abs=0.005)
    assert more["scattered_0", "classification"] == pytest.approx(1.55, abs=0.005)
    assert more["a_class_missed", "missed"] > 5


@pytest.mark.parametrize("name", BLOOD_CELLS)
def test_on_blood_cells_they_agree_within_a_quarter_of_a_point(name):
    found = sort(*case(name))
    costs = [error_costs(found)[kind].ap50 for kind in ERROR_KINDS]
    assert counts_of(found) == pytest.approx(GOLDEN[f"{name}_counts"], abs=1)
    assert costs == pytest.approx(GOLDEN[f"{name}_costs"], abs=0.003)
    assert ap50(found) == pytest.approx(GOLDEN[f"{name}_ap50"], abs=0.001)


def test_tidecv_counts_what_lies_in_a_crowd_as_an_error_and_we_do_not():
    split, detections = case("crowds")
    in_crowds = sum(one.kind == "ignored" for one in sort_slowly(split, detections.tolist()))
    ours, theirs = counts_of(sort(split, detections)), GOLDEN["crowds_counts"]
    assert in_crowds == 13
    assert sum(theirs[:-1]) - sum(ours[:-1]) == in_crowds
