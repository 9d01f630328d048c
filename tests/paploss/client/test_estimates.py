"""What a search costs, from the length of one training."""

import pytest

from paploss.client.estimates import count_confirmations, estimate_search
from paploss.client.specs import SearchSpec

SPEC = SearchSpec(
    profile="retinanet-r50", rounds=10, trials_per_round=6, confirm={"candidates": 2, "seeds": 2, "published": True}
)
HOUR = 3600.0


def changed(**changes: object) -> SearchSpec:
    return SearchSpec.model_validate(SPEC.model_dump() | changes)


def test_all_trainings_count() -> None:
    found = estimate_search(SPEC, HOUR, trials=7)
    assert count_confirmations(SPEC) == 8  # two candidates, the identity and the published set, two seeds each
    assert (found.proxies, found.confirmations, found.trials, found.is_capped) == (60, 8, 7, False)
    assert found.worker_hours == found.gpu_hours == 68
    assert estimate_search(changed(gpus=4), HOUR).gpu_hours == 4 * 68


@pytest.mark.parametrize(
    ("mode", "hours"), [("round", {1: 60 + 8, 4: 10 * 2 + 2, 8: 10 + 1}), ("stream", {1: 60 + 8, 4: 15 + 2, 8: 8 + 1})]
)
def test_in_rounds_workers_wait_for_each_other(mode: str, hours: dict[int, float]) -> None:
    found = estimate_search(changed(mode=mode), HOUR).hours_by_workers
    assert {workers: found[workers] for workers in hours} == hours


def test_a_budget_ends_the_rounds() -> None:
    found = estimate_search(changed(worker_hours=20), HOUR)
    assert (found.proxies, found.is_capped, found.worker_hours) == (20, True, 28)
    assert estimate_search(changed(worker_hours=60), HOUR).is_capped is False


def test_a_budget_of_a_whole_number_of_trainings_loses_none_to_rounding() -> None:
    for count in range(1, 60):
        found = estimate_search(changed(worker_hours=count * 700 / 3600), 700)
        assert (found.proxies, found.whole_proxies, found.has_lengths) == (count, count, False)


@pytest.mark.parametrize("mode", ["round", "stream"])
def test_a_round_that_a_budget_ends_takes_as_long_as_its_own_trials(mode: str) -> None:
    found = estimate_search(changed(mode=mode, worker_hours=20), HOUR)
    assert found.hours_by_workers[1] == found.worker_hours == 28


def test_final_confirmations_are_of_unknown_length_and_left_out() -> None:
    confirm = SPEC.confirm.model_dump() | {"schedule": "final"}
    found = estimate_search(changed(confirm=confirm | {"most_seeds": 9}), HOUR)
    assert (found.worker_hours, found.most_worker_hours, found.has_confirmations) == (60, 60, False)


def test_the_race_may_take_as_many_seeds_as_it_is_allowed() -> None:
    split = {"annotations": "a.json", "images": "images"}
    data = {"name": "own", "root": "/data/own", "train": split, "val": split}
    found = estimate_search(SearchSpec(profile="retinanet-tiny", rounds=10, trials_per_round=10, dataset=data), 360.0)
    assert (found.pilot, found.proxies, found.confirmations, found.most_confirmations) == (39, 100, 14 * 5, 14 * 12)
    assert (found.worker_hours, found.most_worker_hours) == pytest.approx((20.9, 30.7))
    assert found.hours_by_workers[1] == pytest.approx(20.9)
    alone = estimate_search(SPEC, HOUR)
    assert (alone.most_confirmations, alone.most_worker_hours) == (alone.confirmations, alone.worker_hours)


def test_without_a_length_there_are_no_hours() -> None:
    found = estimate_search(SPEC, None)
    assert (found.proxies, found.worker_hours, found.gpu_hours, found.hours_by_workers) == (60, None, None, {})
