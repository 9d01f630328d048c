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


def test_final_confirmations_are_of_unknown_length_and_left_out() -> None:
    confirm = SPEC.confirm.model_dump() | {"schedule": "final"}
    assert estimate_search(changed(confirm=confirm), HOUR).worker_hours == 60


def test_without_a_length_there_are_no_hours() -> None:
    found = estimate_search(SPEC, None)
    assert (found.proxies, found.worker_hours, found.gpu_hours, found.hours_by_workers) == (60, None, None, {})
