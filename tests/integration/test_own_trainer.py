"""A search through the platform whose trainings are a program of the user's own: the example in plain PyTorch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stack import IMPATIENT, WAIT_SECONDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_trainer.py"
SPEC = """
profile: command
algorithm: ppo
mode: round
rounds: 1
trials_per_round: 2
confirm: {candidates: 1, seeds: 2, rivals: []}
"""


def search(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    (folder / "spec.yaml").write_text(SPEC)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAPLOSS_")} | IMPATIENT
    command = [sys.executable, "-m", "paploss.cli", "search", str(folder / "spec.yaml"), "--json"]
    command += ["--state", str(folder / "state"), "--workers", "1"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=WAIT_SECONDS, env=environment | settings, check=False
    )


@pytest.mark.slow
def test_the_example_finds_a_loss_through_the_platform(tmp_path: Path) -> None:
    done = search(tmp_path, PAPLOSS_TRAINER_COMMAND=json.dumps([sys.executable, str(EXAMPLE)]))
    assert done.returncode == 0, done.stderr
    assert 0.2 < json.loads(done.stdout)["ap"]["mean"] <= 1
