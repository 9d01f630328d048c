"""Worker and controller of two versions finish a search: the other one is version 0.1.0, run from its commit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import Stack

SEARCH = {"rounds": 2, "trials_per_round": 2, "confirm": {"candidates": 2, "seeds": 1}, "synthetic": {"iterations": 5}}


@pytest.fixture
def stack(tmp_path: Path, redis_url: str) -> Iterator[Stack]:
    with Stack(tmp_path, redis_url) as opened:
        yield opened


@pytest.mark.slow
def test_a_worker_of_version_0_1_0_finishes_a_search_of_this_controller(stack: Stack, version_0_1_0: Path) -> None:
    stack.start_controller()
    stack.start_other_worker("old", ["worker"], PYTHONPATH=str(version_0_1_0))
    experiment_id = stack.submit(**SEARCH)
    assert stack.wait_for(experiment_id, "succeeded")["best_ap"] > 0
    assert {trial["worker"] for trial in stack.trials(experiment_id)} == {"old"}
    assert {trial["attempts"] for trial in stack.trials(experiment_id)} == {1}


@pytest.mark.slow
def test_a_worker_of_this_version_finishes_a_search_of_a_controller_of_version_0_1_0(
    tmp_path: Path, redis_url: str, version_0_1_0: Path
) -> None:
    with Stack(tmp_path, redis_url, revision="0005") as stack:
        stack.start_controller(("controller.cli", "serve"), PYTHONPATH=str(version_0_1_0))
        stack.start_worker("new")
        asked = {"profile": "synthetic", "prune": False} | SEARCH
        search_id = str(stack.post("searches", asked)["id"])
        stack.wait_for(search_id, "succeeded", path="searches")
        trials = stack.get(f"searches/{search_id}/trials")["items"]
        assert {trial["worker"] for trial in trials} == {"new"}
        assert {trial["attempts"] for trial in trials} == {1}


@pytest.mark.slow
def test_an_upgrade_in_the_middle_of_a_search_loses_no_trial(
    tmp_path: Path, redis_url: str, version_0_1_0: Path
) -> None:
    with Stack(tmp_path, redis_url, revision="0005") as stack:
        stack.start_controller(("controller.cli", "serve"), PYTHONPATH=str(version_0_1_0))
        stack.start_other_worker("old", ["worker"], PYTHONPATH=str(version_0_1_0))
        asked = {"profile": "synthetic", "prune": False, "rounds": 3, "trials_per_round": 3}
        asked["synthetic"] = {"iterations": 10, "iteration_seconds": 0.1}
        search_id = str(stack.post("searches", asked)["id"])
        stack.wait_for_trials(search_id, 2, path="searches")
        stack.kill_controller()
        stack.start_controller()
        stack.start_worker("new")
        stack.wait_for(search_id, "succeeded")
        trials = stack.trials(search_id)
        assert {trial["state"] for trial in trials} == {"succeeded"}
        assert {trial["failed_attempts"] for trial in trials} == {0}
        proxies = [trial for trial in trials if trial["kind"] == "proxy"]
        assert len(proxies) == 9
