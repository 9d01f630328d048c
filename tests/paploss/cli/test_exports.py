"""Exports of a found loss, from a controller that runs."""

import ast
import json
import runpy
from pathlib import Path

import pytest
from click.testing import Result
from controllers import PlayedWorker, RunningController, run_search
from typer.testing import CliRunner

from paploss.cli.failures import BAD_INPUT, FAILED, REFUSED
from paploss.cli.main import app
from paploss.cli.specifications import read_training
from paploss.client.algorithms import PpoSettings
from paploss.client.specs import ConfirmSpec, SearchSpec
from paploss.client.sync_client import Client
from paploss.jobs.losses import parse_loss

SPEC = SearchSpec(
    algorithm=PpoSettings(),
    mode="round",
    name="to take away",
    profile="synthetic",
    rounds=1,
    trials_per_round=2,
    confirm=ConfirmSpec(candidates=1, seeds=2),
)


@pytest.fixture
def found(client: Client, worker: PlayedWorker) -> str:
    """Id of a search that has found a loss."""
    experiment_id = client.create(SPEC).id
    run_search(client, worker, experiment_id)
    return experiment_id


def export(controller: RunningController, *arguments: object) -> Result:
    environment = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["viewer"]}
    return CliRunner().invoke(app, ["export", *map(str, arguments)], env=environment)


def test_an_export_says_what_it_wrote_and_what_not(controller: RunningController, found: str, tmp_path: Path) -> None:
    result = export(controller, found, "--out", tmp_path / "new" / "loss.json", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["not_written"] == {"mmdet": "the profile synthetic is no detector"}
    exported = json.loads(Path(told["files"]["json"]).read_text())
    loss = parse_loss(exported["loss"], strict=True)
    module = Path(told["files"]["torch"])
    assert module == tmp_path / "new" / "loss_loss.py"
    assert f"search {found} 'to take away' with synthetic" in (ast.get_docstring(ast.parse(module.read_text())) or "")
    quality, scale, knots = runpy.run_path(str(module))["HEADS"]["bbox_head"]
    head = loss.heads["bbox_head"]
    assert (quality, scale) == (head.quality, head.gradient_scale)
    assert knots == [[part for point in row[1:-1] for part in point] for row in head.control_points]


def test_an_export_has_the_learning_rate_that_was_found(
    controller: RunningController, client: Client, worker: PlayedWorker, tmp_path: Path
) -> None:
    wide = SPEC.model_copy(update={"family": "extended", "searched_rate": True, "seed": 3})
    experiment_id = client.create(wide).id
    run_search(client, worker, experiment_id)
    best = client.best(experiment_id)
    assert export(controller, experiment_id, "--out", tmp_path / "loss.json").exit_code == 0
    exported = json.loads((tmp_path / "loss.json").read_text())
    assert exported["learning_rate_factor"] == best.learning_rate_factor != 1
    assert parse_loss(exported["loss"], strict=True) == best.loss
    module = tmp_path / "loss_loss.py"
    told = f"Trained with {best.learning_rate_factor:.4g} times the search's learning rate."
    assert told in (ast.get_docstring(ast.parse(module.read_text())) or "")


def test_an_export_trains_on_as_many_gpus_as_its_search_and_ranks_their_entries_together(
    controller: RunningController, client: Client, worker: PlayedWorker, tmp_path: Path
) -> None:
    experiment_id = client.create(SPEC.model_copy(update={"gpus": 2, "gather_scores": True})).id
    run_search(client, worker, experiment_id)
    file = tmp_path / "loss.json"
    assert export(controller, experiment_id, "--format", "json", "--out", file).exit_code == 0
    training = read_training(str(file), None, profile=None, data_root=None, epochs=None, gpus=None, schedule="final")
    assert (training.gpus, training.gather_scores) == (2, True)


def test_one_format_goes_to_the_named_file(controller: RunningController, found: str, tmp_path: Path) -> None:
    result = export(controller, found, "--format", "torch", "--out", tmp_path / "mine.py")
    assert result.stdout == f"PyTorch module: {tmp_path / 'mine.py'}\n"
    assert [file.name for file in tmp_path.glob("mine*")] == ["mine.py"]


def test_a_framework_gets_the_module_in_its_form(controller: RunningController, found: str, tmp_path: Path) -> None:
    result = export(controller, found, "--for", "transformers", "--out", tmp_path / "mine.py")
    assert result.stdout == f"PyTorch module: {tmp_path / 'mine.py'}\n"
    module = ast.parse((tmp_path / "mine.py").read_text())
    assert "model.loss_function = ranking_loss()" in (ast.get_docstring(module) or "")
    names = {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert {"HeadLoss", "ranking_loss"} <= names
    assert [file.name for file in tmp_path.glob("*.*") if "test.db" not in file.name] == ["mine.py"]


def test_an_unknown_framework_is_refused_with_those_that_are_known(
    controller: RunningController, found: str, tmp_path: Path
) -> None:
    result = export(controller, found, "--for", "keras", "--out", tmp_path / "mine.py")
    assert result.exit_code == BAD_INPUT
    assert "transformers" in result.stderr
    assert not list(tmp_path.glob("*.py"))


def test_a_framework_for_a_file_that_is_no_module_is_refused(
    controller: RunningController, found: str, tmp_path: Path
) -> None:
    result = export(controller, found, "--for", "transformers", "--format", "json", "--out", tmp_path / "loss.json")
    assert result.exit_code == BAD_INPUT
    assert "--for transformers is a form of the PyTorch module" in result.stderr


def test_a_format_that_was_asked_for_and_cannot_be_had_fails(
    controller: RunningController, found: str, tmp_path: Path
) -> None:
    result = export(controller, found, "--format", "mmdet", "--out", tmp_path / "config.py")
    assert result.exit_code == FAILED
    assert "mmdet: the profile synthetic is no detector" in result.stderr


def test_nothing_is_written_while_there_is_no_best_loss(
    controller: RunningController, client: Client, tmp_path: Path
) -> None:
    result = export(controller, client.create(SPEC).id, "--out", tmp_path / "loss.json")
    assert result.exit_code == REFUSED
    assert "has no trial with a reward yet" in result.stderr
