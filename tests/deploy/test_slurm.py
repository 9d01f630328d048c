import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from charts import ROOT
from slurm import JOB_ID, Slurm
from stack import WAIT_SECONDS, Stack, wait_until

SCRIPT = ROOT / "deploy" / "slurm" / "workers.sbatch"
LONG = {"iterations": 3000, "iteration_seconds": 0.02}


@pytest.fixture
def platform(tmp_path: Path, redis_url: str) -> Iterator[Stack]:
    with Stack(tmp_path / "platform", redis_url) as running:
        running.start_controller()
        yield running


@pytest.fixture
def environment(platform: Stack, tmp_path: Path) -> dict[str, str]:
    """What a user has exported before `sbatch`."""
    key = tmp_path / "worker.key"
    key.write_text(platform.worker_key)
    paths = {"PATH": f"{Path(sys.executable).parent}:{platform.environment['PATH']}", "PAPLOSS_KEY_FILE": str(key)}
    return platform.environment | paths | {"PAPLOSS_CONTROLLER_URL": platform.url, "PAPLOSS_IDLE_SECONDS": "5"}


@pytest.mark.slow
def test_the_elements_of_a_job_array_run_a_search_and_end_by_themselves(
    platform: Stack, environment: dict[str, str], tmp_path: Path
) -> None:
    search = platform.submit(rounds=2, trials_per_round=4)
    with Slurm(SCRIPT, tmp_path, environment, "--array=0-1%2") as array:
        platform.wait_for(search, "succeeded")
        assert array.wait(WAIT_SECONDS) == [0, 0]
    names = {worker["name"] for worker in platform.get("workers")["items"]}
    assert names == {f"slurm-{JOB_ID}-0", f"slurm-{JOB_ID}-1"}
    for index in (0, 1):
        assert "nothing to do for 5 s, ending" in (tmp_path / f"paploss-{JOB_ID}-{index}.log").read_text()


@pytest.mark.slow
def test_a_cancelled_element_releases_its_trial_without_a_failure(
    platform: Stack, environment: dict[str, str], tmp_path: Path
) -> None:
    training = platform.submit_training(synthetic=LONG)
    with Slurm(SCRIPT, tmp_path, environment, "--array=0-0") as array:
        wait_until(lambda: platform.trial(training)["iteration"] > 0, "the training to begin")
        array.scancel(0)
        assert array.wait(WAIT_SECONDS) == [0]
    trial = platform.trial(training)
    assert trial["state"] == "queued"
    assert [attempt["outcome"] for attempt in trial["attempt_list"]] == ["preempted"]
    assert trial["failed_attempts"] == 0


@pytest.mark.parametrize("missing", ["CONTROLLER_URL", "REDIS_URL", "KEY_FILE", "STATE_DIR"])
def test_a_variable_that_is_missing_is_named(missing: str) -> None:
    given = {
        "PAPLOSS_CONTROLLER_URL": "http://127.0.0.1:1",
        "PAPLOSS_REDIS_URL": "redis://127.0.0.1:1/0",
        "PAPLOSS_KEY_FILE": "/nowhere",
        "PAPLOSS_STATE_DIR": "/nowhere",
        "SLURM_JOB_ID": "1",
        "PATH": "/usr/bin:/bin",
    }
    del given[f"PAPLOSS_{missing}"]
    done = subprocess.run([SCRIPT], env=given, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"PAPLOSS_{missing}: " in done.stderr
