"""What is mirrored, and when."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from controllers import PlayedWorker, RunningController
from mirrors import SPEC, Ended, mirror, try_mirror
from stack import wait_until

from paploss.cli import extras
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import ComparisonSpec
from paploss.client.sync_client import Client


def test_trials_that_run_are_left_for_later(
    controller: RunningController, client: Client, worker: PlayedWorker, tmp_path: Path
) -> None:
    experiment_id = client.create(SPEC).id
    first, _ = wait_until(lambda: list(client.trials(experiment_id, state="queued")), "trials")
    lease = worker.claim(first.id)
    assert mirror(controller, "--tensorboard", tmp_path / "runs") == []
    worker.finish(lease)
    assert [told["trials"] for told in mirror(controller, "--tensorboard", tmp_path / "runs")] == [1]
    assert {folder.name for folder in tmp_path.glob("runs/*/*")} == {first.id}


def test_a_search_that_was_cancelled_before_any_reward_has_an_end(
    controller: RunningController, client: Client, tmp_path: Path
) -> None:
    client.cancel(client.create(SPEC).id)
    (told,) = mirror(controller, "--tensorboard", tmp_path / "runs")
    assert told["is_ended"]
    (told_why,) = tmp_path.glob("runs/*/verdict/verdict.txt")
    assert told_why.read_text() == "search cancelled\n"


def test_a_comparison_has_its_losses_as_labels_and_its_table(
    controller: RunningController, client: Client, worker: PlayedWorker, tmp_path: Path
) -> None:
    losses = (LossChoice(preset="identity"), LossChoice(preset="published"))
    spec = ComparisonSpec(profile="synthetic", losses=losses, seeds=(0,), learning_rates=())
    experiment_id = client.create(spec).id
    for trial in wait_until(lambda: list(client.trials(experiment_id, state="queued")), "trials"):
        worker.run(trial.id)
    client.wait(experiment_id)
    (told,) = mirror(controller, "--tensorboard", tmp_path / "runs")
    assert (told["trials"], told["is_ended"]) == (2, True)
    (table,) = tmp_path.glob("runs/*/verdict/comparison.csv")
    assert "identity" in table.read_text()


@pytest.mark.slow
def test_following_writes_what_ends_later(
    controller: RunningController, client: Client, worker: PlayedWorker, tmp_path: Path
) -> None:
    experiment_id = client.create(SPEC).id
    queued = wait_until(lambda: list(client.trials(experiment_id, state="queued")), "trials")
    environment = os.environ | {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["viewer"]}
    command = [sys.executable, "-m", "paploss.cli", "mirror", "--follow", "--tensorboard", tmp_path / "runs"]
    with subprocess.Popen(command, env=environment) as process:
        try:
            for trial in queued:
                worker.run(trial.id)
                wait_until(lambda: list(tmp_path.glob(f"runs/*/{trial.id}")), "its run")  # noqa: B023 (called here)
        finally:
            process.terminate()


def test_a_target_is_asked_for(ended: Ended) -> None:
    result = try_mirror(ended.controller)
    assert (result.exit_code, result.stderr) == (2, "paploss: expected --mlflow URI, --tensorboard FOLDER, or both\n")


@pytest.mark.parametrize("extra", ["mlflow", "tensorboard"])
def test_the_extra_of_a_target_is_named(ended: Ended, extra: extras.Extra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.NEEDED, extra, ("no_such_module",))
    result = try_mirror(ended.controller, f"--{extra}", "somewhere")
    assert result.exit_code == 1
    assert f"--{extra} needs packages that are not installed here (no_such_module)" in result.stderr
    assert f"pip install 'paploss[{extra}]'" in result.stderr


def test_mlflows_usage_figures_are_off() -> None:
    script = (
        "import paploss.mirror.mlflow_target\n"
        "from mlflow.telemetry.client import get_telemetry_client\n"
        "sys.exit(get_telemetry_client() is not None)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_") and name != "CI"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", f"import sys\n{script}"], env=environment, check=False)
    assert done.returncode == 0
