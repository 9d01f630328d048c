"""The choice of a learning rate from few noisy trainings."""

import pytest

from paploss.client.comparison import RateResult
from paploss.controller.experiments.rate_checks import choose_rate, first_reward, next_checks

SEEDS = (7, 8)
Rewards = dict[float, tuple[float | None, ...]]
"""By factor, for each of SEEDS."""


def results(rewards: Rewards) -> list[RateResult]:
    return [
        RateResult(factor=factor, ap=ap, seed=seed)
        for index, seed in enumerate(SEEDS)
        for factor, aps in rewards.items()
        for ap in aps[index : index + 1]
    ]


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ({0.5: (0.1,), 1: (0.2, 0.2), 2: (0.3, 0.3)}, 2),
        ({0.5: (0.1,), 1: (0.2, 0.2), 2: (0.3, 0.1)}, 1),  # ahead with one seed only
        ({0.5: (0.161,), 1: (0.178, 0.25), 2: (0.193, 0.012)}, 1),  # a rate at which one seed of two hardly learns
        ({0.5: (0.3, 0.3), 1: (0.2, 0.2), 2: (0.3, 0.4)}, 2),  # several are ahead: the best mean
        ({0.25: (0.3, 0.3), 1: (0.2, 0.2), 2: (0.3, 0.3)}, 2),  # equal ones: the nearest to 1 by ratio
        ({0.5: (0.2,), 1: (0.2,), 2: (0.2,)}, 1),
        ({0.5: (0.3, 0.3), 1: (0.2, 0.2), 2: (None,)}, 0.5),
        ({0.5: (0.2, 0.2), 1: (None,), 4: (0.3, 0.3)}, 4),  # without a result at 1 the nearest stands in for it
        ({0.5: (0.3,), 1: (None,), 4: (0.2,)}, 0.5),
        ({0.5: (None,), 2: (None,)}, 1),
        ({}, 1),
    ],
)
def test_another_rate_is_taken_where_it_is_ahead_of_the_profiles_with_each_seed(
    rewards: Rewards, expected: float
) -> None:
    assert choose_rate(results(rewards), 1) == expected


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ({0.5: (0.1,), 1: (0.2,), 2: (0.2,)}, []),  # none is ahead: the rate is known
        ({0.5: (0.1,), 1: (0.2,), 2: (0.3,)}, [(1, 8), (2, 8)]),
        ({0.5: (0.3,), 1: (0.2,), 2: (0.3,)}, [(1, 8), (0.5, 8), (2, 8)]),
        ({0.5: (0.1,), 1: (0.2, 0.2), 2: (0.3, 0.3)}, []),
        ({0.5: (0.1,), 1: (0.2, None), 2: (0.3, None)}, []),  # what failed is not trained again
        ({0.5: (None,), 1: (None,)}, []),
    ],
)
def test_a_second_seed_is_for_the_profiles_rate_and_what_is_ahead_of_it(
    rewards: Rewards, expected: list[tuple[float, int]]
) -> None:
    assert next_checks(results(rewards), SEEDS, 1) == expected


def test_the_reward_that_losses_are_ordered_by_is_of_the_seed_that_all_of_them_have() -> None:
    assert first_reward(results({1: (0.2, 0.4), 2: (0.3, 0.5)}), 1) == 0.3
    assert first_reward(results({1: (None,)}), 1) is None
