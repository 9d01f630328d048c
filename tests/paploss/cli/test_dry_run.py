"""What a search would cost, measured on this machine by the real trainer."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from paploss.cli.dry_run import MeasuredSteps, measure_steps, show
from paploss.cli.failures import FAILED, CommandError
from paploss.cli.main import app
from paploss.client.estimates import estimate_search
from paploss.client.specs import SearchSpec

SPEC = """
profile: synthetic
rounds: 3
trials_per_round: 4
confirm: {candidates: 1, seeds: 2, most_seeds: 5}
synthetic: {iterations: 5, iteration_seconds: 0.01}
"""


def run(file: Path, *arguments: str):
    options = [*arguments, "--state", str(file.parent / "state")]
    return CliRunner().invoke(app, ["search", str(file), "--dry-run", *options], env={"COLUMNS": "100"})


def test_a_dry_run_tells_all_costs_and_starts_nothing(tmp_path):
    file = tmp_path / "search.yaml"
    file.write_text(SPEC)
    told = run(file)
    assert told.exit_code == 0, told.output
    assert told.output.startswith("measuring for 20 s")  # it takes a while, and a file shows no status
    assert "12 in rounds, then 4 to 10 confirmations" in told.output
    assert "(depending on how many seeds the race needs)" in " ".join(told.output.split())
    assert "from start to the race's first look" in told.output
    assert "(from steps measured on this machine)" in told.output
    assert "MB for each worker" in told.output
    assert [line.split()[0] for line in told.output.splitlines()[-7:]] == ["1", "2", "4", "8", "16", "32", "64"]
    assert not (tmp_path / "state").exists()
    found = json.loads(run(file, "--json").stdout)
    assert found["proxies"] == 12
    assert found["gpu_hours"] == 0
    assert found["worker_hours"] == pytest.approx(found["hours_by_workers"]["1"])
    assert found["most_worker_hours"] == pytest.approx(found["worker_hours"] * 22 / 16)
    assert found["disk_bytes"] > 0


def test_a_long_training_is_measured_by_its_first_steps():
    spec = SearchSpec(profile="synthetic", synthetic={"iterations": 100_000, "iteration_seconds": 0.01})
    measured = measure_steps(spec, 0.2)
    assert measured.seconds > 100_000 * 0.01
    assert measured.disk_bytes > 0
    assert not measured.has_evaluations


def test_steps_that_no_evaluation_follows_are_said_to_leave_it_out(capsys):
    spec = SearchSpec(profile="synthetic", rounds=2, trials_per_round=2, confirm={"schedule": "final"})
    show(estimate_search(spec, 60.0), MeasuredSteps(60.0, False, 1000), Console(width=200))
    told = capsys.readouterr().out
    assert "(from steps measured on this machine, without evaluations)" in told
    assert "without the confirmations: how long their schedule takes is not known" in told


def test_what_cannot_be_trained_cannot_be_measured(tmp_path):
    with pytest.raises(CommandError, match="no step can be measured: synthetic"):
        measure_steps(SearchSpec(profile="synthetic", synthetic={"fault": "user_error"}), 0.2)
    file = tmp_path / "search.yaml"
    file.write_text(SPEC + "reward: {class: cat}\n")
    told = run(file)
    assert told.exit_code == FAILED
    assert "there is no class 'cat'" in told.output
