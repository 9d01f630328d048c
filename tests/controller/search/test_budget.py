"""How many trials fit into a budget."""

import pytest

from paploss.controller.search.budget import count_affordable


@pytest.mark.parametrize(
    ("cap", "spent", "ended", "open_trials", "count"),
    [
        (100, 0, 0, 0, None),  # nothing is known of their length
        (100, 30, 3, 0, 7),
        (100, 30, 3, 5, 2),
        (100, 30, 3, 7, 0),
        (100, 30, 3, 9, 0),
        (100, 39, 3, 0, 4),  # 61 s are left for trials of 13 s
        (100, 100, 3, 0, 0),
        (100, 150, 3, 2, 0),
    ],
)
def test_as_many_as_the_rest_of_the_budget_lasts_for(
    cap: float, spent: float, ended: int, open_trials: int, count: int | None
) -> None:
    assert count_affordable(cap, spent, ended, open_trials) == count
