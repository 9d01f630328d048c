"""What people see of a search."""

import io
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from paploss.cli.progress import SearchProgress, conclusion
from paploss.cli.wording import next_command
from paploss.client.models import Best, ExperimentDetail, RoundSummary, TrialSummary
from paploss.client.numbers import percent
from paploss.client.specs import SearchSpec
from paploss.jobs.presets import identity

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def search(**changes: object) -> ExperimentDetail:
    given = {
        "id": "s1", "name": "cells", "owner": "ann", "state": "running", "stage": "rounds", "reason": "",
        "profile": "synthetic", "gpus": 0, "priority": 0, "trials": {"running": 1, "succeeded": 8},
        "trials_planned": 20, "trials_final": 8, "best_ap": 0.315, "seconds_left": 75.0, "created_at": NOW,
        "finished_at": None, "round": 1, "rounds": 2, "confirmed": False, "kind": "search",
        "spec": SearchSpec(profile="synthetic").model_dump(mode="json"), "results": [],
    }  # fmt: skip
    return ExperimentDetail.model_validate(given | changes)


def closed_round(number: int) -> RoundSummary:
    return RoundSummary(
        number=number, centre=[0.5], spread=0.2, proposed=8, mean_reward=0.25, best_reward=0.3, rewards=8,
        created_at=NOW, closed_at=NOW,
    )  # fmt: skip


def trial() -> TrialSummary:
    return TrialSummary(
        id="s1-9", experiment_id="s1", number=9, kind="proxy", label="", round=1, seed=0, state="running", reward=None,
        diverged=False, learning_rate_factor=1.0, worker="w0", attempts=1, failed_attempts=0, preemptions=0,
        iteration=30, total_iterations=60, seconds=None, error_kind=None, error=None,
        created_at=NOW, started_at=NOW, finished_at=None,
    )  # fmt: skip


def best(report: dict[str, object] | None) -> Best:
    return Best(
        experiment_id="s1",
        confirmed=report is not None,
        ap=0.31,
        source="trial 3",
        loss=identity(["bbox_head"]),
        report=report,
    )


def test_a_terminal_shows_bars_rounds_and_the_best_ap():
    screen = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with SearchProgress(screen) as progress:
        progress.update(search(), [closed_round(0)], [trial()])
    text = screen.file.getvalue()
    for part in ("8/20 trials", "best AP 31.5", "1 min 15 s left", "trial 9", "30/60", "25.0", "0.200"):
        assert part in text


def test_a_file_gets_one_line_for_each_round():
    output = Console(file=io.StringIO(), width=200)
    with SearchProgress(output) as progress:
        progress.update(search(), [closed_round(0)], [])
        progress.update(search(), [closed_round(0)], [])
        progress.update(search(stage="confirm"), [closed_round(0), closed_round(1)], [])
    lines = output.file.getvalue().splitlines()
    rounds_and_stages = [line.split(":")[0] for line in lines if line.startswith(("round", "stage"))]
    assert rounds_and_stages == ["round 1/2", "stage", "round 2/2", "stage"]
    assert "mean AP 25.0, best 30.0 of 8 trials; best so far 31.5" in lines[0]


def test_a_file_tells_of_progress_and_failures_once():
    output = Console(file=io.StringIO(), width=200)
    with SearchProgress(output) as progress:
        for failed in (0, 2, 2):
            progress.update(search(trials={"succeeded": 8 - failed, "failed": failed}), [], [])
    lines = output.file.getvalue().splitlines()
    assert [line for line in lines if "left" in line] == ["8 of 20 trials done, 1 min 15 s left"]
    assert len([line for line in lines if "2 of them failed" in line]) == 1


def test_a_file_tells_no_time_left_where_none_is_known():
    output = Console(file=io.StringIO(), width=200)
    with SearchProgress(output) as progress:
        progress.update(search(seconds_left=None), [], [])
    assert output.file.getvalue().splitlines()[0] == "8 of 20 trials done"


def test_a_confirmed_result_stands_beside_the_identity_start_with_its_deviation():
    measured = {"mean": 0.2, "standard_error": 0.011, "rewards": {"1": 0.19, "2": 0.21}}
    lines = conclusion(
        best({"mean": 0.31, "standard_error": 0.004, "count": 3, "identity": measured, "published": None})
    )
    assert lines == [
        "best AP 31.0 ± 0.7, mean ± sd of 3 fresh seeds  (trial 3)",
        "identity start AP 20.0 ± 1.6, mean ± sd of 2 fresh seeds",
    ]


def test_an_unconfirmed_result_says_so():
    assert conclusion(best(None)) == ["best AP 31.0 (trial 3, one training; not confirmed)"]


def test_ap_is_shown_in_percent():
    assert (percent(0.3149), percent(0.0), percent(None)) == ("31.5", "0.0", "–")


def test_the_next_command_can_be_typed_as_it_stands(tmp_path, monkeypatch):
    program = tmp_path / "venv" / "bin" / "paploss"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert next_command("train", Path("a.json")) == "venv/bin/paploss train a.json"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert next_command("show", "s1") == f"{program} show s1"
    monkeypatch.setenv("PATH", str(program.parent))
    assert next_command("show", "s1") == "paploss show s1"
