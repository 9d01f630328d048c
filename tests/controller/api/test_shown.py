"""What is loaded can be shown: lists, page and figures are built before anything is stored."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from controllers import PlayedWorker, RunningController, run_search
from scenarios import search_spec, training_spec

from paploss.client.sync_client import ApiError

Lines = list[dict[str, Any]]


def change(table: str, **changes: Any) -> Callable[[Lines], None]:
    """Change every row of a table."""

    def apply(lines: Lines) -> None:
        for line in lines:
            if line.get("table") == table:
                line["row"] |= changes

    return apply


UNSHOWABLE = {
    "AssertionError": change("searches", kind="training"),
    "IndexError": change("rounds", mu=[0.5]),
    "KeyError": change("trials", label="of no loss"),
}


@pytest.mark.parametrize("reason", UNSHOWABLE)
def test_what_cannot_be_shown_is_refused_and_the_lists_stay(
    controller: RunningController, worker: PlayedWorker, reason: str
) -> None:
    with controller.client("admin") as admin, controller.http("admin") as http:
        if reason == "KeyError":
            experiment = admin.create(training_spec("comparison", learning_rates=[]))
            admin.cancel(experiment.id)
        else:
            experiment = admin.create(search_spec(rounds=1, trials_per_round=2, confirm={"seeds": 1, "candidates": 1}))
            run_search(admin, worker, experiment.id)
        lines = [json.loads(line) for line in gzip.decompress(admin.dump(experiment.id)).splitlines()]
        admin.delete(experiment.id)
        UNSHOWABLE[reason](lines)
        with pytest.raises(ApiError, match=f"it cannot be shown: {reason}") as refusal:
            admin.load(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
        assert refusal.value.status == 422
        for path in ("/", "/trainings", "/compare"):
            assert http.get(path).status_code == 200
        assert http.get("/api/v1/experiments").raise_for_status().json()["items"] == []
