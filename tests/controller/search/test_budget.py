"""How many trials fit into a budget."""

import pytest

from paploss.controller.search.budget import count_affordable


@pytest.mark.parametrize(
    ("cap", "spent", "mean", "open_trials", "count"),
    [
        (100, 0, None, 0, None),
        (100, 100, None, 0, 0),
        (100, 0, 10, 0, 10),
        (100, 30, 10, 0, 7),
        (100, 30, 10, 5, 2),
        (100, 30, 10, 7, 0),
        (100, 30, 10, 9, 0),
        (100, 39, 13, 0, 4),  # 61 s are left for trials of 13 s
        (100, 100, 10, 0, 0),
        (100, 150, 10, 2, 0),
    ],
)
def test_as_many_as_the_rest_of_the_budget_lasts_for(
    cap: float, spent: float, mean: float | None, open_trials: int, count: int | None
) -> None:
    assert count_affordable(cap, spent, mean, open_trials) == count
