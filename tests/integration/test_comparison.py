"""A comparison that loses everything in the middle: command, controller, Redis and workers, killed at once."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from stack import IMPATIENT, WAIT_SECONDS, wait_until

SPEC = """
profile: synthetic
losses: [published, identity]
seeds: [1, 2]
learning_rates: [1, 2]
synthetic: {iterations: 5, iteration_seconds: %s, best_learning_rate_factor: 2.0}
"""
CHECKS = 2 * (2 + 2)  # at both rates, and again with a second seed, because one of them is ahead
TRIALS = CHECKS + 2 * 2
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PAPLOSS_")} | IMPATIENT


@pytest.mark.faults
def test_the_same_command_goes_on_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC % 0.05)
    command = [sys.executable, "-m", "paploss.cli", "compare", str(tmp_path / "spec.yaml"), "--json"]
    command += ["--state", str(tmp_path / "state"), "--out", str(tmp_path / "out"), "--workers", "2"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=output, env=ENVIRONMENT)
    try:
        wait_until(lambda: f"{CHECKS + 1}/{TRIALS} " in log.read_text(), "the first training after the checks")
    finally:
        process.kill()
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["training"] in log.read_text()
    published, start = content["comparison"]["rows"]
    for row in (published, start):
        assert set(row["rewards"]) == {"1", "2"}
        assert row["failed"] == []
        assert row["learning_rate_factor"] == 2.0
        assert row["rate_check"][1]["ap"] > row["rate_check"][0]["ap"]
    assert start["difference"]["seeds"] == 2
    told = [line for line in done.stderr.splitlines() if re.match(r"\d+/\d+ ", line)]
    assert len(told) == TRIALS  # each once, none anew
