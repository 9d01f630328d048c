"""Trainings of several lengths in a request: what is refused, and what they cost."""

from typing import Any

import pytest
from pydantic import ValidationError

from paploss.client.estimates import estimate_search
from paploss.client.lengths import Lengths
from paploss.client.specs import SearchSpec

THREE = {"fractions": [0.25, 0.5, 1], "keep": 3}


def spec(**changes: Any) -> SearchSpec:
    return SearchSpec.model_validate({"profile": "retinanet-tiny", "lengths": THREE} | changes)


def test_without_the_key_every_training_is_whole() -> None:
    assert SearchSpec(profile="retinanet-tiny").lengths is None
    assert SearchSpec(profile="retinanet-tiny").proxies == 320


@pytest.mark.parametrize("given", ["0.25, 0.5, 1", "[0.25, 0.5, 1]", [0.25, 0.5, 1]])
def test_fractions_are_a_list_or_a_line_of_text(given: object) -> None:
    assert Lengths.model_validate({"fractions": given}) == Lengths(fractions=(0.25, 0.5, 1.0), keep=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": {"fractions": [0.5, 0.25, 1]}}, r"fractions: expected ascending .* got 0\.5, 0\.25, 1"),
        ({"lengths": {"fractions": [0.25, 0.5]}}, "fractions: expected ascending numbers with 1 at the end"),
        ({"lengths": {"fractions": [1]}}, r"lengths\.fractions\n.*at least 2"),
        ({"lengths": {"fractions": [0, 1]}}, r"lengths\.fractions\.0\n.*greater than 0"),
        ({"lengths": {"fractions": [0.5, 1, 2]}}, r"lengths\.fractions\.2\n.*less than or equal to 1"),
        ({"lengths": {"fractions": [0.1, 0.2, 0.3, 0.4, 0.5, 1]}}, r"lengths\.fractions\n.*at most 5"),
        ({"lengths": {"fractions": [0.5, 1], "keep": 1}}, r"lengths\.keep\n.*greater than or equal to 2"),
        ({"lengths": {"keep": 3}}, r"lengths\.fractions\n.*required"),
        ({"algorithm": "ppo"}, "lengths: expected the algorithm guided or random, got ppo"),
        ({"algorithm": "cma", "mode": "round"}, "lengths: expected the algorithm guided or random, got cma"),
        ({"profile": "command"}, "lengths: expected a profile whose trainings stop anywhere, .*; got command"),
        ({"mode": "round"}, "lengths: expected the mode stream, got round"),
        ({"rounds": 2, "trials_per_round": 4}, r"lengths: expected rounds x trials_per_round of at least 9.*got 2 x 4"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**changes)


def test_a_search_with_lengths_is_a_stream_whatever_its_algorithm_prefers() -> None:
    assert spec(algorithm="random").mode == "stream"


def test_it_counts_and_costs_what_each_training_adds() -> None:
    found = spec(rounds=10, trials_per_round=9)
    assert found.lengths is not None
    assert found.lengths.count(90) == (90, 30, 10)
    assert found.proxies == 130
    assert found.lengths.measure(90) == 90 * 0.25 + 30 * 0.25 + 10 * 0.5
    estimate = estimate_search(found, 3600.0)
    last = estimate.confirmations
    assert (estimate.proxies, estimate.whole_proxies, estimate.has_lengths) == (130, 35, True)
    assert estimate.worker_hours == 35 + last
    assert estimate.hours_by_workers[4] == 9 + -(-last // 4)
    capped = estimate_search(spec(rounds=10, trials_per_round=9, worker_hours=7), 3600.0)
    assert (capped.proxies, capped.whole_proxies, capped.is_capped) == (26, 7, True)


def test_trainings_of_one_length_cost_one_each() -> None:
    estimate = estimate_search(SearchSpec(profile="retinanet-tiny", rounds=10, trials_per_round=9), 3600.0)
    assert (estimate.proxies, estimate.whole_proxies, estimate.has_lengths) == (90, 90, False)
