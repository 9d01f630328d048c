"""The contract's checker against programs that keep it, and programs that break one of its rules."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from paploss.cli.trainer_checks import ContractError, check
from paploss.jobs.presets import identity
from paploss.jobs.spec import JobSpec

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_trainer.py"
JOB = JobSpec(trial_id="t", profile="synthetic", loss=identity(["bbox_head"]))

START = {"event": "start", "total_iterations": 2}
ONE, TWO = ({"event": "progress", "iteration": number, "total_iterations": 2} for number in (1, 2))
METRICS = dict.fromkeys(("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"), 0.5)
MEASURED = {"event": "evaluation", "iteration": 2, "total_iterations": 2, "metrics": METRICS}
RESULT = {"event": "result", "outcome": "succeeded", "reward": 0.5, "metrics": METRICS}


def program(folder: Path, lines: list[object], status: int = 0) -> list[str]:
    """The command of a program that prints `lines`, whatever it is given, and takes no notice of SIGTERM."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    file = folder / "program.py"
    file.write_text(
        "import signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"sys.stdout.write({text!r})\nsys.stdout.flush()\nsys.exit({status})\n"
    )
    return [sys.executable, str(file)]


@pytest.mark.parametrize(
    ("lines", "status", "said"),
    [
        (["hello"], 0, r"^line 1: .*got 'hello'; standard output is for events alone"),
        ([START, {**ONE, "iteration": -1}], 0, r"^line 2: progress\.iteration: .*greater than or equal to 0"),
        ([], 3, "^line 1: expected the event `start`, got none, and exit status 3"),
        ([ONE, MEASURED, RESULT], 0, "^line 1: expected the event `start`, got progress"),
        ([START, START, MEASURED, RESULT], 0, "^line 2: expected one event `start`, got a second"),
        ([START, TWO, ONE, MEASURED, RESULT], 0, "^line 3: iteration: expected 2 to 2, got 1"),
        ([START, MEASURED, RESULT, TWO], 0, "^line 3: expected `result` as the last event, got progress after it"),
        ([START, ONE, TWO, MEASURED], 0, "^last line: expected the event `result`, got evaluation"),
        ([START, MEASURED, RESULT], 1, "^after a result: expected exit status 0, got 1"),
        ([START, TWO, RESULT], 0, "^result: expected the AP of the last evaluation .* got no event `evaluation`"),
        ([START, MEASURED, {**RESULT, "reward": 0.4}], 0, r"as reward 0\.4, got 0\.5"),
        ([START, ONE, MEASURED, RESULT], 0, "^after SIGTERM: expected exit status 75, got 0: the job ended before"),
    ],
)
def test_a_broken_rule_is_named_with_its_line(tmp_path, lines, status, said):
    with pytest.raises(ContractError, match=said):
        list(check(program(tmp_path, lines, status), JOB, tmp_path, timeout_seconds=60))


def test_the_example_refuses_a_loss_of_which_it_would_leave_something_out(tmp_path):
    loss = identity(["bbox_head"])
    extended = loss.heads["bbox_head"].model_copy(update={"l1_weight": 0.5})
    job = JOB.model_copy(update={"loss": loss.model_copy(update={"heads": {"bbox_head": extended}})})
    (tmp_path / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "job.json"), "--state", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    result = json.loads(done.stdout)
    assert (result["outcome"], result["error_kind"]) == ("failed", "user")
    assert "this program knows no l1_weight" in result["error"]


def test_a_program_that_does_not_end_is_ended(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(f"import time\nprint({json.dumps(START)!r}, flush=True)\ntime.sleep(600)\n")
    with pytest.raises(ContractError, match=r"expected an end within 3 s, got none after \d events"):
        list(check([sys.executable, str(file)], JOB, tmp_path, timeout_seconds=3))


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ContractError, match=r"^/nowhere: cannot be started: No such file"):
        list(check(["/nowhere"], JOB, tmp_path, timeout_seconds=60))


@pytest.mark.slow
def test_the_example_keeps_the_contract_and_is_short(tmp_path):
    shown = list(check([sys.executable, str(EXAMPLE)], JOB, tmp_path, timeout_seconds=200))
    assert len(shown) == 4
    assert len(EXAMPLE.read_text().splitlines()) < 150


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "paploss.cli", "trainer-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_trainer_itself_keeps_the_contract():
    done = run_command("--", sys.executable, "-m", "paploss.trainer", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": ok") == 4


def test_the_schemas_admit_a_job_and_events_and_nothing_else():
    schemas = json.loads(run_command("--schema").stdout)
    jobs, events = Draft202012Validator(schemas["job"]), Draft202012Validator(schemas["event"])
    assert jobs.is_valid(JOB.model_dump(mode="json"))
    assert all(events.is_valid(event) for event in (START, ONE, MEASURED, RESULT))
    assert not jobs.is_valid({"trial_id": "t"})
    assert not events.is_valid({"event": "finished"})


def test_without_a_command_it_says_what_is_missing():
    done = run_command()
    assert done.returncode != 0
    assert "COMMAND: expected the program to check" in done.stderr
