"""What a pilot expects of a search, against simulations of what it describes."""

import numpy as np
import pytest

from paploss.controller.search import pilot, race

SEEDS = range(2000)


def repeat(noise: float, losses: int, seeds: int) -> dict[str, dict[int, float]]:
    """Rewards of some losses with common seeds: what a seed adds to all is five times the noise of one training."""
    random = np.random.default_rng(0)
    shared = random.normal(0, 5 * noise, seeds)
    table = 0.4 + 0.1 * np.arange(losses)[:, None] + shared + random.normal(0, noise, (losses, seeds))
    return {f"loss {row}": dict(enumerate(table[row])) for row in range(losses)}


def test_noise_is_what_common_seeds_do_not_share() -> None:
    outlook = pilot.judge([0.4, 0.5], repeat(0.01, 3, 400), 100, 4, (3,))
    assert outlook.noise == pytest.approx(0.01, rel=0.1)


def test_seeds_that_not_all_losses_have_are_left_out() -> None:
    rewards = repeat(0.01, 2, 6)
    complete = pilot.judge([0.4, 0.5], {label: {s: r[s] for s in range(4)} for label, r in rewards.items()}, 9, 4, (3,))
    del rewards["loss 0"][4], rewards["loss 1"][5]
    assert pilot.judge([0.4, 0.5], rewards, 9, 4, (3,)) == complete


def test_a_loss_whose_trainings_were_lost_does_not_keep_the_noise_of_the_others_from_being_known() -> None:
    rewards = repeat(0.01, 3, 5)
    others = {label: rewards[label] for label in ("loss 0", "loss 2")}
    lost = rewards | {"loss 1": {3: 0.9}}
    assert pilot.judge([0.4, 0.5], lost, 9, 4, (3,)) == pilot.judge([0.4, 0.5], others, 9, 4, (3,))


def test_a_race_of_one_seed_has_no_interval_and_tells_nothing() -> None:
    outlook = pilot.judge([0.2, 0.6], repeat(0.001, 3, 5), 100, 4, (1,))
    assert outlook.gain is not None
    assert (outlook.detectable, outlook.is_promising) == (None, False)


@pytest.mark.parametrize("repeated", [{}, {"a": {0: 0.4, 1: 0.5}}, {"a": {0: 0.4}, "b": {0: 0.5}}])
def test_nothing_is_expected_where_the_noise_cannot_be_known(repeated: dict[str, dict[int, float]]) -> None:
    outlook = pilot.judge([0.4, 0.5], repeated, 100, 4, (3,))
    assert outlook == pilot.Outlook(None, None, None, None)
    assert not outlook.is_promising


def test_losses_that_differ_by_noise_alone_leave_nothing_to_gain() -> None:
    outlook = pilot.judge([0.400, 0.401, 0.399], repeat(0.01, 3, 50), 100, 4, (3, 5))
    assert (outlook.spread, outlook.gain) == (0, 0)
    assert not outlook.is_promising


def spread_of(best: list[float]) -> float:
    found = pilot.judge(best, repeat(0.01, 3, 2000), 100, 4, (3,)).spread
    assert found is not None
    return found


def test_losses_that_hardly_train_leave_the_spread_of_the_others_as_it_is() -> None:
    usual = [0.21, 0.23, 0.25, 0.255, 0.26, 0.27]
    assert spread_of([*usual, 0.01]) == spread_of([*usual, 0.05, 0.0]) == spread_of(usual) > 0.01


def test_hardly_trained_is_what_lies_three_deviations_below_the_median() -> None:
    """With the seventh loss the median is 0.25, and 1.4826 times the median deviation 0.0297."""
    usual = [0.21, 0.23, 0.25, 0.255, 0.26, 0.27]
    assert spread_of([*usual, 0.25 - 3.1 * 0.02965]) == spread_of(usual)
    assert spread_of([*usual, 0.25 - 2.9 * 0.02965]) > spread_of(usual)


def test_losses_that_hardly_train_are_not_counted_among_those_that_a_search_has_to_beat() -> None:
    usual = [0.21, 0.23, 0.25, 0.255, 0.26, 0.27]
    gains = [pilot.judge(best, repeat(0.01, 3, 50), 100, 4, (3,)).gain for best in (usual, [*usual, 0.05, 0.0])]
    assert gains[0] == gains[1]


def test_the_gain_over_two_losses_without_noise_is_that_of_a_table_of_greatest_normal_values() -> None:
    """The expected greatest of 100 is 2.508, of 2 it is 0.564, in units of the spread (Harter, 1961)."""
    outlook = pilot.judge([0.2, 0.3], repeat(1e-6, 3, 50), 100, 4, (3,))
    assert outlook.gain == pytest.approx((2.508 - 0.564) * 0.1 / 2**0.5, rel=0.025)


def test_what_a_race_can_detect_it_detects_in_four_of_five() -> None:
    """Four entrants, one look at five seeds: t with 12 degrees of freedom at 0.05 / 2 / 6 is 3.153; 0.842 for 0.8."""
    outlook = pilot.judge([0.2, 0.3], repeat(0.01, 3, 50), 100, 4, (5,))
    assert outlook.noise is not None
    assert outlook.detectable == pytest.approx((3.153 + 0.842) * (2 / 5) ** 0.5 * outlook.noise, rel=1e-3)


def test_losses_that_are_alike_but_for_one_that_hardly_trains_leave_nothing_to_gain() -> None:
    assert spread_of([0.25] * 8 + [0.05]) == 0


def test_the_worse_of_two_losses_and_one_far_above_the_others_count() -> None:
    assert spread_of([0.25, 0.05]) == pytest.approx(0.14, abs=0.002)
    assert spread_of([0.25, 0.25, 0.25, 0.45]) == pytest.approx(0.1, abs=0.002)


@pytest.mark.parametrize(("tried", "trainings"), [(3, 40), (10, 100), (10, 10)])
def test_the_gain_is_the_lead_over_the_best_tried_where_both_are_chosen_by_noisy_trainings(
    tried: int, trainings: int
) -> None:
    noise, spread = 0.01, 0.015
    random = np.random.default_rng(1)

    def choose(losses: int) -> float:
        """The mean true reward of the best of so many losses."""
        true = random.normal(0, spread, (20_000, losses))
        chosen = (true + random.normal(0, noise, true.shape)).argmax(axis=1)
        return float(true[np.arange(len(true)), chosen].mean())

    simulated = choose(trainings) - choose(tried)
    measured = np.linspace(-1, 1, tried)
    measured *= np.hypot(spread, noise) / measured.std(ddof=1)  # the variance of losses that were measured with noise
    outlook = pilot.judge(list(0.4 + measured), repeat(noise, 3, 2000), trainings, 4, (3,))
    assert outlook.gain == pytest.approx(simulated, rel=0.05, abs=2e-4)


def test_one_loss_has_no_spread_but_the_race_is_known() -> None:
    outlook = pilot.judge([0.4], repeat(0.01, 2, 3), 100, 4, (3,))
    assert (outlook.spread, outlook.gain, outlook.is_promising) == (None, None, False)
    assert outlook.detectable is not None


def test_the_race_tells_a_detectable_lead_in_four_of_five_cases() -> None:
    noise, looks = 0.01, (12,)
    outlook = pilot.judge([0.4, 0.5], repeat(noise, 3, 2000), 100, 4, looks)
    assert outlook.detectable is not None
    random = np.random.default_rng(2)
    told = 0
    for _ in range(400):
        table = random.normal(0, noise, (4, 12)) + np.array([outlook.detectable, 0, 0, 0])[:, None]
        standing = race.judge({str(row): dict(enumerate(table[row])) for row in range(4)}, range(12), looks)
        assert standing is not None
        told += any(lead.label == "1" and lead.is_decided for lead in standing.leads if standing.leader == "0")
    assert told / 400 == pytest.approx(0.8, abs=0.08)
