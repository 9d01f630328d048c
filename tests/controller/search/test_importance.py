"""Which dimensions matter: against scipy where both apply, and where a plain correlation would be wrong."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from paploss.controller.search.importance import measure

MU = np.full(3, 0.5)


@pytest.mark.parametrize("decimals", [16, 1], ids=["without ties", "with ties"])
def test_in_one_version_it_is_spearmans_correlation(decimals: int) -> None:
    generator = np.random.default_rng(0)
    theta = generator.random((40, 3)).round(decimals)
    rewards = (theta[:, 1] - 0.3 * theta[:, 2] + 0.1 * generator.random(40)).round(decimals)
    found = measure(theta, rewards, np.zeros(40, int), first=MU, newest=MU, sigma=0.2)
    expected = [spearmanr(theta[:, dimension], rewards).statistic for dimension in range(3)]
    assert found.correlation == pytest.approx(expected)
    assert found.noise == pytest.approx(1.96 / np.sqrt(39))


def test_what_drifts_with_the_rounds_alone_does_not_count() -> None:
    generator = np.random.default_rng(1)
    versions = np.repeat(np.arange(20), 16)
    theta = 0.02 * versions[:, None] + generator.random((320, 3))
    rewards = 0.05 * versions + theta[:, 0] + 0.1 * generator.random(320)
    found = measure(theta, rewards, versions, first=MU, newest=MU, sigma=0.2)
    drifted = spearmanr(theta[:, 1], rewards).statistic  # what all trials together would say
    assert drifted > 3 * found.noise
    assert np.abs(found.correlation[1:]).max() < 2 * found.noise
    assert found.correlation[0] > 0.9


def test_a_version_counts_by_its_trials() -> None:
    """2 trials in order, 4 in reverse, centred ranks over the version's n: (1/8 - 5/16) / (1/8 + 5/16)."""
    theta = [[0.1], [0.2], [0.1], [0.2], [0.3], [0.4]]
    found = measure(theta, [1, 2, 4, 3, 2, 1], [0, 0, 1, 1, 1, 1], first=[0.5], newest=[0.5], sigma=0.2)
    assert found.correlation == pytest.approx([-3 / 7])
    assert found.noise == pytest.approx(1.96 / 2)


def test_the_shift_is_in_first_sigmas_with_its_direction() -> None:
    found = measure(np.zeros((0, 3)), [], [], first=[0.5, 0.5, 0.2], newest=[0.9, 0.5, 0.1], sigma=0.2)
    assert found.shift == pytest.approx([2.0, 0.0, -0.5])
    assert found.correlation.tolist() == [0, 0, 0]
    assert found.noise == 1


def test_single_trials_and_equal_rewards_say_nothing() -> None:
    theta = np.random.default_rng(2).random((5, 3))
    assert measure(theta, np.ones(5), np.zeros(5, int), first=MU, newest=MU, sigma=0.2).correlation.tolist() == [
        0,
        0,
        0,
    ]
    assert measure(theta, np.arange(5), np.arange(5), first=MU, newest=MU, sigma=0.2).noise == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="rewards \\[n\\]"):
        measure(np.zeros((2, 3)), [0.1], [0, 0], first=MU, newest=MU, sigma=0.2)
    with pytest.raises(ValueError, match="sigma"):
        measure(np.zeros((0, 3)), [], [], first=MU, newest=MU, sigma=0)
