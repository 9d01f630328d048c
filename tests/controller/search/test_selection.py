import math
from typing import Any

import numpy as np
import pytest

from paploss.controller.search.algorithm import Sample
from paploss.controller.search.selection import candidates, choose, mean_interval

GUESS = np.full(3, 0.5)


def samples(*rewards: float) -> list[Sample[Any]]:
    return [Sample(np.full(3, 0.1 * index), reward, None) for index, reward in enumerate(rewards)]


def test_candidates_are_the_best_guess_and_the_best_samples_the_earlier_first_among_equals():
    found = candidates(GUESS, samples(0.2, 0.3, 0.1, 0.3), 3)
    assert [candidate.sample for candidate in found] == [None, 1, 3]
    np.testing.assert_array_equal(found[0].theta, GUESS)
    np.testing.assert_allclose(found[1].theta, 0.1)


def test_fewer_samples_than_wanted_give_fewer_candidates():
    assert [candidate.sample for candidate in candidates(GUESS, samples(0.2), 5)] == [None, 0]
    assert [candidate.sample for candidate in candidates(GUESS, samples(0.2), 1)] == [None]


def test_no_candidate_at_all_is_refused():
    with pytest.raises(ValueError, match="count: expected at least 1, got 0"):
        candidates(GUESS, samples(0.2), 0)


def test_the_highest_mean_wins_with_its_uncertainty():
    choice = choose([{1: 0.20, 2: 0.22}, {1: 0.24, 2: 0.28}, {1: 0.30, 2: 0.20}])
    assert choice.index == 1
    assert choice.mean == pytest.approx(0.26)
    assert choice.standard_error == pytest.approx(0.02)  # spread 0.02 * sqrt(2), over sqrt(2)
    assert choice.interval == pytest.approx((0.26 - 12.7062 * 0.02, 0.26 + 12.7062 * 0.02), abs=1e-6)
    assert choice.count == 2


def test_the_first_candidate_wins_a_tie():
    assert choose([{1: 0.25}, {1: 0.25}]).index == 0


def test_a_candidate_that_lost_a_confirmation_is_set_aside():
    assert choose([{1: 0.20, 2: 0.22}, {2: 0.90}]).index == 0
    assert choose([{}, {2: 0.90}]).index == 1


def test_a_single_reward_has_no_uncertainty():
    choice = choose([{1: 0.2}])
    assert (choice.mean, choice.standard_error, choice.interval, choice.count) == (0.2, None, None, 1)


@pytest.mark.parametrize("confirmations", [[], [{}, {}]])
def test_no_reward_at_all_is_refused(confirmations):
    with pytest.raises(ValueError, match="expected at least one reward, got none"):
        choose(confirmations)


def test_a_reward_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"confirmations\[0\]\[7\]: expected a finite number, got nan"):
        choose([{7: np.nan}])


def test_the_interval_of_three_values_is_that_of_a_table() -> None:
    # mean 2, standard deviation 1, t(0.975; 2) = 4.302653
    assert mean_interval([1, 2, 3]) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
