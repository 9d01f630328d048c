"""Results as people read them."""

import pytest

from paploss.client.numbers import confirmed, difference, hours, hours_range, mean_and_deviation, percent


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.265, "26.5"),
        (0.26549, "26.5"),
        (1.0, "100.0"),
        (0.0, "0.0"),
        (0.0042, "0.42"),
        (0.01, "1.0"),
        (0.0036, "0.36"),
        (None, "–"),
        (-1.0, "–"),
    ],
)
def test_an_ap_is_in_percent_and_has_two_decimals_below_one(fraction: float | None, text: str) -> None:
    assert percent(fraction) == text


def test_a_deviation_has_the_decimals_of_its_mean() -> None:
    assert mean_and_deviation(0.396, 0.0091) == "39.6 ± 0.9"
    assert mean_and_deviation(0.0091, 0.0021) == "0.91 ± 0.21"
    assert mean_and_deviation(0.396, None) == "39.6"
    assert mean_and_deviation(None, None) == "–"


def test_a_difference_has_its_sign_and_its_interval_in_brackets() -> None:
    assert difference(0.0214, (0.009, 0.034)) == "+2.1 (+0.9 to +3.4)"
    assert difference(-0.0012, (-0.005, 0.0024)) == "-0.12 (-0.50 to +0.24)"
    assert difference(0.02, None) == "+2.0"


def test_a_confirmed_loss_shows_the_deviation_and_not_the_error_of_its_mean() -> None:
    report = {"mean": 0.4, "standard_error": 0.01, "count": 4}
    assert confirmed(report) == "40.0 ± 2.0"
    assert confirmed({"mean": 0.4, "standard_error": 0.01, "rewards": {"0": 0.1, "1": 0.2}}) == "40.0 ± 1.4"
    assert confirmed({"mean": 0.4, "standard_error": None, "rewards": {"0": 0.4}}) == "40.0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.0009, "under 0.01"),
        (0.0202, "0.02"),
        (0.344, "0.34"),
        (12.53, "12.5"),
        (1234.2, "1,234"),
    ],
)
def test_hours_have_no_more_digits_than_they_are_worth(value: float | None, text: str) -> None:
    assert hours(value) == text


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [(18.1, 30.7, "18.1 to 30.7"), (8.0, 8.001, "8"), (8.0, None, "8"), (0.0, 0.0, "0"), (None, None, "–")],
)
def test_a_range_of_hours_has_two_ends_where_they_differ(least: float | None, most: float | None, text: str) -> None:
    assert hours_range(least, most) == text
