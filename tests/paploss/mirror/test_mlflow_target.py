"""Against a real MLflow server."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mirrors import SPEC, Ended, mirror, try_mirror
from mlflow_server import MlflowServer, NoMlflowError, find_environment

from paploss.mirror.records import TrialRecord

if TYPE_CHECKING:  # importing it takes a second, in each process of the default suite too
    from mlflow import MlflowClient
    from mlflow.entities import Run

READ = """
import json, sys
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
events = EventMultiplexer().AddRunsFromDirectory(sys.argv[1])
events.Reload()
scalars = {run: {tag: [[each.step, each.value] for each in events.Scalars(run, tag)] for tag in tags["scalars"]}
           for run, tags in events.Runs().items()}
print(json.dumps(scalars))
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # most of it to install MLflow


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return find_environment(tmp_path_factory.mktemp("environment"))
    except NoMlflowError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(programs, tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture(scope="module")
def mlflow(server: MlflowServer, ended: Ended) -> "MlflowClient":
    """After a first mirroring."""
    (told,) = mirror(ended.controller, "--mlflow", server.url)
    expected = {"experiment_id": ended.search_id, "target": "MLflow", "trials": ended.trials, "is_ended": True}
    assert told == expected
    from mlflow import MlflowClient

    return MlflowClient(server.url)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a folder in place of a server: what no server has a part in."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return tmp_path.as_uri()


def list_runs(mlflow: "MlflowClient", ended: Ended) -> "dict[str, Run]":
    """By the tag that names the trial."""
    from mlflow.entities import ViewType

    found = mlflow.get_experiment_by_name(f"{SPEC.name} ({ended.search_id})")
    assert found is not None
    runs = mlflow.search_runs([found.experiment_id], run_view_type=ViewType.ALL)
    by_trial = {run.data.tags["paploss.trial"]: run for run in runs}
    assert len(by_trial) == len(runs)
    return by_trial


def test_a_trial_is_a_run_with_parameters_metrics_and_tags(mlflow: "MlflowClient", ended: Ended) -> None:
    runs, trial = list_runs(mlflow, ended), ended.trial
    assert len(runs) == ended.trials + 1
    run = runs[trial.id]
    assert run.info.status == "FINISHED"
    theta = [float(value) for name, value in run.data.params.items() if name.startswith("bbox_head.")]
    assert sorted(theta) == sorted(trial.theta or ())
    parameters = {name: run.data.params[name] for name in ("algorithm", "loss", "seed")}
    assert parameters == {"algorithm": "ppo", "loss": "parameterized_ap", "seed": str(trial.seed)}
    assert run.data.metrics["reward"] == trial.reward
    course = mlflow.get_metric_history(run.info.run_id, "AP")
    assert [(each.step, each.value) for each in course][:2] == [(2, 0.1), (4, 0.2)]
    tags = {name: run.data.tags[f"paploss.{name}"] for name in ("experiment", "state", "worker")}
    assert tags == {"experiment": ended.search_id, "state": "succeeded", "worker": "w1"}
    assert trial.finished_at is not None
    assert run.info.end_time == round(trial.finished_at.timestamp() * 1000)


def test_the_verdict_is_a_run_with_the_report_as_an_artifact(
    mlflow: "MlflowClient", ended: Ended, tmp_path: Path
) -> None:
    run = list_runs(mlflow, ended)["verdict"]
    with ended.controller.client("viewer") as client:
        best = client.best(ended.search_id)
    assert run.data.tags["mlflow.note.content"] == (best.report or {})["verdict"]["sentence"]
    assert run.data.metrics["best"] == best.ap
    folder = Path(mlflow.download_artifacts(run.info.run_id, "", str(tmp_path)))
    assert {file.name for file in folder.iterdir()} == {"best.json", "report.html", "verdict.txt"}
    assert "cells, day/night" in (folder / "report.html").read_text()
    assert json.loads((folder / "best.json").read_text())["ap"] == best.ap


def test_what_is_there_is_not_written_again(mlflow: "MlflowClient", server: MlflowServer, ended: Ended) -> None:
    before = {trial: run.to_dictionary() for trial, run in list_runs(mlflow, ended).items()}
    assert mirror(ended.controller, "--mlflow", server.url) == []
    assert {trial: run.to_dictionary() for trial, run in list_runs(mlflow, ended).items()} == before


def test_a_run_that_was_cut_off_is_completed_and_not_doubled(
    mlflow: "MlflowClient", server: MlflowServer, ended: Ended
) -> None:
    runs = list_runs(mlflow, ended)
    for trial in (ended.trial.id, "verdict"):
        mlflow.update_run(runs[trial].info.run_id, status="RUNNING")
    before = mlflow.get_metric_history(runs[ended.trial.id].info.run_id, "AP")
    (told,) = mirror(ended.controller, "--mlflow", server.url)
    assert (told["trials"], told["is_ended"]) == (1, True)
    after = list_runs(mlflow, ended)
    assert {trial: run.info.run_id for trial, run in after.items()} == {t: r.info.run_id for t, r in runs.items()}
    assert {run.info.status for run in after.values()} == {"FINISHED"}
    again = mlflow.get_metric_history(runs[ended.trial.id].info.run_id, "AP")
    assert [each.to_dictionary() for each in again] == [each.to_dictionary() for each in before]


def test_runs_that_were_deleted_there_stay_deleted(mlflow: "MlflowClient", server: MlflowServer, ended: Ended) -> None:
    runs = list_runs(mlflow, ended)
    run_id = runs[ended.trial.id].info.run_id
    mlflow.delete_run(run_id)
    mlflow.update_run(runs["verdict"].info.run_id, status="RUNNING")
    try:
        (told,) = mirror(ended.controller, "--mlflow", server.url)
        assert told["trials"] == 0
        assert len(list_runs(mlflow, ended)) == ended.trials + 1
    finally:
        mlflow.restore_run(run_id)


def test_a_server_that_does_not_answer_is_named(ended: Ended) -> None:
    result = try_mirror(ended.controller, "--mlflow", "http://127.0.0.1:9")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "MLflow at http://127.0.0.1:9: " in result.stderr


def test_classes_whose_names_are_not_english_are_told_apart(folder: str, ended: Ended, tmp_path: Path) -> None:
    from paploss.mirror.mlflow_target import MlflowTarget

    course = [(1, {"AP of 猫": 0.1, "AP of 犬/狼": 0.2})]
    with ended.controller.client() as client:
        experiment = client.get_experiment(ended.search_id)
    trial = TrialRecord("a", "a", "succeeded", {}, course, {}, 0.0, 0.0)
    MlflowTarget(folder).write_trial(experiment, trial)
    assert {file.name for file in tmp_path.glob("*/*/metrics/*")} == {"AP of 猫", "AP of 犬_狼"}


def test_a_store_of_artifacts_that_cannot_be_used_is_named(folder: str, ended: Ended) -> None:
    from mlflow import MlflowClient

    MlflowClient(folder).create_experiment(f"{SPEC.name} ({ended.search_id})", artifact_location="s3://bucket")
    result = try_mirror(ended.controller, "--mlflow", folder)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert f"MLflow at {folder}: cannot store " in result.stderr
    assert "boto3" in result.stderr


def test_tensorboard_itself_reads_the_event_files(programs: Path, ended: Ended, tmp_path: Path) -> None:
    mirror(ended.controller, "--tensorboard", tmp_path)
    done = subprocess.run([programs / "python", "-c", READ, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    assert len(read) == ended.trials + 1
    scalars = read[f"{ended.search_id} cells-day-night/{ended.trial.id}"]
    assert scalars["AP"][:2] == [[2, pytest.approx(0.1)], [4, pytest.approx(0.2)]]
    assert scalars["reward"] == [[ended.trial.iteration, pytest.approx(ended.trial.reward)]]
