"""Rewards of real evaluations, by numbers that can be counted by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from small_splits import CAT, DOG, make_split

from paploss.jobs.metrics import REWARD
from paploss.trainer.datasets.check import check_reward
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.datasets.findings import Findings
from paploss.trainer.errors import UserError
from paploss.trainer.evaluation import evaluate_detections
from paploss.trainer.rewards import measure_reward

SMALL_CAT, CROWD = (5, 4, [1, 1, 20, 20], 0), (3, 8, [5, 5, 60, 60], 1)

HALF_FOUND = np.array([[3, 10, 10, 40, 50, 0.9, 0]])
"""The cat of 50 x 50 px with an IoU of 0.8: its AP is 0.7, as 7 of the 10 thresholds are passed. No dog."""


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("AP", 0.35),
        ("AP50", 0.5),
        ("AP75", 0.5),
        ("AP_medium", 0.7),
        ("AP_large", 0.0),
        ({"class": "cat"}, 0.7),
        ({"class": "dog"}, 0.0),
        ({"worst_classes": 1}, 0.0),
        ({"worst_classes": 2}, 0.35),
        ({"sum": [{"metric": "AP"}, {"metric": "AP_medium", "weight": 3}]}, (0.35 + 3 * 0.7) / 4),
    ],
    ids=str,
)
def test_an_evaluation_has_this_reward(given, value) -> None:
    metrics = evaluate_detections(make_split(CAT, DOG), HALF_FOUND).metrics
    assert measure_reward(REWARD.validate_python(given), metrics) == pytest.approx(value)


def test_what_cannot_be_measured_is_the_users_error() -> None:
    metrics = evaluate_detections(make_split(CAT, DOG), HALF_FOUND).metrics
    with pytest.raises(UserError, match=r"^reward: AP_small is undefined, for no object counts"):
        measure_reward("AP_small", metrics)


SPLITS = {
    "both": make_split(CAT, DOG),
    "no dog": make_split(CAT, SMALL_CAT),
    "a crowd of dogs": make_split(CAT, CROWD),
    "nothing": make_split(),
    "bounds": make_split((3, 4, [0, 0, 32, 32], 0), (3, 8, [0, 0, 96, 96], 0)),
    "beyond COCO": make_split((3, 4, [0, 0, 2e5, 2e5], 0), (3, 8, [0, 0, 9, 9], 0)),
    "of one name": replace(make_split(CAT), categories=({"id": 4, "name": "disc"}, {"id": 8, "name": "disc"})),
}
REWARDS = ["AP", "AP50", "AP_small", "AP_medium", "AP_large", {"class": "dog"}, {"class": "disc (id 8)"}]
REWARDS += [{"worst_classes": 1}, {"worst_classes": 2}]


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("given", REWARDS, ids=str)
def test_the_check_refuses_what_an_evaluation_would(split: CocoSplit, given) -> None:
    reward, findings = REWARD.validate_python(given), Findings()
    check_reward(split, reward, findings)
    expected = refusal(lambda: measure_reward(reward, evaluate_detections(split, np.zeros((0, 7))).metrics))
    assert refusal(findings.raise_errors) == (expected and f"a.json: {expected}")


def refusal(act: Callable[[], object]) -> str:
    """What it is refused with; empty where it is not."""
    try:
        act()
    except UserError as error:
        return str(error)
    return ""
