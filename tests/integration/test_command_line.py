"""`paploss` from end to end, as people use it: real processes, the profile `synthetic`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from stack import IMPATIENT, WAIT_SECONDS, lives, wait_until

from paploss.jobs.losses import parse_loss

SPEC = """
name: end to end
profile: synthetic
algorithm: ppo
rounds: 2
trials_per_round: 3
prune: false
seed: 3
confirm: {candidates: 1, seeds: 2}
synthetic: {iterations: 5, iteration_seconds: %s}
"""
TRIALS = 2 * 3 + (1 + 1) * 2
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PAPLOSS_")} | IMPATIENT


def paploss(*arguments: str, status: int = 0) -> str:
    """Run a command to its end; what it printed."""
    finished = subprocess.run(
        [sys.executable, "-m", "paploss.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS * 2,
        env=ENVIRONMENT,
        check=False,
    )
    assert finished.returncode == status, finished.stderr
    return finished.stdout


@contextmanager
def running(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on, killed at the end if it has not ended."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "paploss.cli", *arguments], stdout=output, stderr=output, env=ENVIRONMENT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def is_trainer(process: psutil.Process) -> bool:
    try:
        return "paploss.trainer" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def write_spec(folder: Path, iteration_seconds: float = 0.0) -> str:
    (folder / "spec.yaml").write_text(SPEC % iteration_seconds)
    return str(folder / "spec.yaml")


@pytest.mark.slow
def test_up_search_list_show_export_train_and_down(tmp_path):
    state = ["--state", str(tmp_path / "state")]
    log = tmp_path / "up.log"
    with running(log, "up", *state, "--workers", "2", "--port", "18473") as up:
        wait_until(lambda: "/sign-in#code=" in log.read_text(), "the page's address")
        family = descendants(up.pid)

        found = json.loads(paploss("search", write_spec(tmp_path), *state, "--json"))
        experiment_id = found["search"]["id"]
        assert found["ap"]["confirmed"]
        assert found["ap"]["seeds"] == 2
        assert found["ap"]["identity"] is not None

        (listed,) = json.loads(paploss("list", *state, "--json"))
        assert (listed["id"], listed["state"], listed["trials_final"]) == (experiment_id, "succeeded", TRIALS)
        assert experiment_id in paploss("list", *state)
        shown = json.loads(paploss("show", experiment_id, *state, "--json"))
        assert [row["rewards"] for row in shown["rounds"]] == [3, 3]
        assert "identity start AP" in paploss("show", experiment_id, *state)

        file = tmp_path / "found.json"
        paploss("export", experiment_id, *state, "--out", str(file))
        exported = json.loads(file.read_text())
        assert parse_loss(exported["loss"], strict=True).heads.keys() == {"bbox_head"}
        assert exported["ap"]["mean"] == found["ap"]["mean"]

        trained = paploss("train", str(file), "--out", str(tmp_path / "trained"))
        assert "AP" in trained
        assert (tmp_path / "trained" / "result.json").exists()
        submitted = paploss("train", str(file), "--submit", *state)
        assert "found" in submitted

        second = paploss("search", write_spec(tmp_path, 0.2), *state, "--detach").strip()
        assert "paused" in paploss("pause", second, *state)
        assert "running" in paploss("resume", second, *state)
        assert "cancelled" in paploss("cancel", second, *state)
        paploss("resume", second, *state, status=4)
        paploss("show", "nothing", *state, status=4)

        assert paploss("keys", "create", "ann", "--role", "viewer", *state).startswith("paploss_")
        assert "ann" in paploss("keys", "list", *state)
        paploss("keys", "revoke", "ann", *state)

        assert "in use by process" in run_refused("up", *state)
        up.send_signal(signal.SIGINT)
        assert up.wait(WAIT_SECONDS) == 0
    assert not any(map(lives, family))


def run_refused(*arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-m", "paploss.cli", *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert finished.returncode == 1
    return finished.stderr


@pytest.mark.faults
def test_an_interrupted_search_goes_on_with_the_same_command_after_kill_9_too(tmp_path):
    state = tmp_path / "state"
    command = ["search", write_spec(tmp_path, 0.1), "--state", str(state), "--workers", "2", "--json"]
    for number in (signal.SIGKILL, signal.SIGTERM):
        log = tmp_path / f"{number}.log"
        with running(log, *command) as search:
            wait_until(lambda pid=search.pid: any(map(is_trainer, descendants(pid))), "a trial to run")
            family = descendants(search.pid)
            search.send_signal(number)
            assert search.wait(WAIT_SECONDS) == (-9 if number == signal.SIGKILL else 130)
        wait_until(lambda family=family: not any(map(lives, family)), "the end of every child")
    found = json.loads(paploss(*command))
    assert found["ap"]["confirmed"]
    assert found["ap"]["mean"] == pytest.approx(undisturbed_mean(tmp_path), abs=0)


def undisturbed_mean(folder: Path) -> float:
    """The same search, in a folder of its own."""
    state = str(folder / "undisturbed")
    found = json.loads(paploss("search", str(folder / "spec.yaml"), "--state", state, "--workers", "2", "--json"))
    return float(found["ap"]["mean"])


@pytest.mark.slow
def test_a_search_that_asks_ends_after_its_pilot_and_the_same_command_goes_on(tmp_path):
    state = ["--state", str(tmp_path / "state"), "--workers", "2"]
    spec = write_spec(tmp_path)
    text = Path(spec).read_text().replace("seeds: 2}", "seeds: 2, rivals: [focal_giou]}\npilot: ask")
    Path(spec).write_text(text)
    told = paploss("search", spec, *state, status=1)
    assert "Pilot of 12 trainings: the published set reaches AP" in " ".join(told.split())
    assert "stage: rounds, 12 of" in told
    found = json.loads(paploss("search", spec, *state, "--json"))
    assert found["search"]["state"] == "succeeded"
    Path(spec).write_text(text.replace("seed: 3", "seed: 4"))
    unasked = json.loads(paploss("search", spec, *state, "--go-on", "--json"))
    assert unasked["search"]["state"] == "succeeded"
    assert unasked["search"]["id"] != found["search"]["id"]
