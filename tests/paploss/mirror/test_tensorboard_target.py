"""Event files, read back as TensorBoard reads them: records with their length, then the message."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from mirrors import Ended, mirror, try_mirror
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from paploss.mirror.records import EndRecord
from paploss.mirror.tensorboard_target import TensorBoardTarget


def read_events(folder: Path) -> Iterator[Event]:
    (file,) = folder.glob("events.out.tfevents.*")
    content, position = file.read_bytes(), 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        yield Event.FromString(content[position + 12 : position + 12 + length])
        position += 12 + length + 4


def test_a_trial_is_a_run_with_its_course_and_its_result(ended: Ended, tmp_path: Path) -> None:
    mirror(ended.controller, "--tensorboard", tmp_path)
    events = list(read_events(tmp_path / f"{ended.search_id} cells-day-night" / ended.trial.id))
    scalars = {(value.tag, event.step): value.simple_value for event in events for value in event.summary.value}
    course = [scalars["AP", each.iteration] for each in ended.trial.evaluations]
    assert course[:2] == pytest.approx([0.1, 0.2])
    assert scalars["reward", ended.trial.iteration] == pytest.approx(ended.trial.reward)
    assert ended.trial.finished_at is not None
    assert events[-1].wall_time == pytest.approx(ended.trial.finished_at.timestamp())


def test_a_trials_theta_is_among_its_hyperparameters_by_name(ended: Ended, tmp_path: Path) -> None:
    mirror(ended.controller, ended.search_id, "--tensorboard", tmp_path)
    events = read_events(tmp_path / f"{ended.search_id} cells-day-night" / ended.trial.id)
    messages = [value.metadata.plugin_data for event in events for value in event.summary.value]
    infos = [HParamsPluginData.FromString(each.content) for each in messages if each.plugin_name == "hparams"]
    (started,) = (info.session_start_info for info in infos if info.HasField("session_start_info"))
    theta = [value.number_value for name, value in started.hparams.items() if name.startswith("bbox_head.")]
    assert sorted(theta) == pytest.approx(sorted(ended.trial.theta or ()))
    assert started.hparams["algorithm"].string_value == "ppo"


def test_the_verdict_is_a_run_with_the_report_beside_it(ended: Ended, tmp_path: Path) -> None:
    mirror(ended.controller, "--tensorboard", tmp_path)
    folder = tmp_path / f"{ended.search_id} cells-day-night" / "verdict"
    assert "cells, day/night" in (folder / "report.html").read_text()
    with ended.controller.client("viewer") as client:
        sentence = (client.best(ended.search_id).report or {})["verdict"]["sentence"]
    texts = [value.tensor.string_val for event in read_events(folder) for value in event.summary.value]
    assert [sentence.encode()] in texts
    assert (folder / "verdict.txt").read_text() == f"{sentence}\n"


def test_what_is_there_is_not_written_again(ended: Ended, tmp_path: Path) -> None:
    (told,) = mirror(ended.controller, "--tensorboard", tmp_path)
    expected = {"experiment_id": ended.search_id, "target": "TensorBoard", "trials": ended.trials, "is_ended": True}
    assert told == expected
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert mirror(ended.controller, "--tensorboard", tmp_path) == []
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def test_a_run_that_was_cut_off_is_written_anew(ended: Ended, tmp_path: Path) -> None:
    mirror(ended.controller, "--tensorboard", tmp_path / "runs")
    (own,) = (tmp_path / "runs").iterdir()
    lost = own / ended.trial.id
    lost.rename(own / ".partial")
    (own / "verdict").rename(tmp_path / "verdict")
    (told,) = mirror(ended.controller, "--tensorboard", tmp_path / "runs")
    assert (told["trials"], told["is_ended"]) == (1, True)
    assert len(list(read_events(lost))) > 1
    assert not (own / ".partial").exists()


def test_a_name_that_no_folder_can_have_is_cut(ended: Ended, tmp_path: Path) -> None:
    with ended.controller.client() as client:
        experiment = client.get_experiment(ended.search_id).model_copy(update={"name": "細胞" * 100})
    end = EndRecord("succeeded", "a sentence", {}, {}, 0.0)
    target = TensorBoardTarget(tmp_path)
    target.write_end(experiment, end)
    assert target.find_written(experiment).is_ended
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith(f"{ended.search_id} 細胞細胞")


def test_a_folder_that_cannot_be_written_to_is_named(ended: Ended, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = try_mirror(ended.controller, "--tensorboard", tmp_path / "file")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert f"{tmp_path / 'file'}: cannot write: " in result.stderr
