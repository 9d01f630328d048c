"""One training on this machine, with the real trainer (the profile `synthetic`)."""

import io
import json
import os
import signal
import sys
import threading

import cv2
import numpy as np
import pytest
from rich.console import Console
from stack import wait_until
from typer.testing import CliRunner

from paploss.cli.failures import BAD_INPUT, INTERRUPTED, CommandError
from paploss.cli.local_training import run_training, start_trainer
from paploss.cli.main import app
from paploss.jobs.presets import identity
from paploss.jobs.spec import JobResult, JobSpec, SyntheticOptions


def job(**options: object) -> JobSpec:
    synthetic = SyntheticOptions.model_validate({"iterations": 5} | options)
    return JobSpec(trial_id="t", kind="final", profile="synthetic", loss=identity(["bbox_head"]), synthetic=synthetic)


def console() -> Console:
    return Console(file=io.StringIO())


def test_a_training_leaves_its_job_its_result_and_its_weights(tmp_path):
    result = run_training(job(), tmp_path / "out", console())
    assert result.outcome == "succeeded"
    assert JobResult.model_validate_json((tmp_path / "out" / "result.json").read_bytes()) == result
    assert JobSpec.model_validate_json((tmp_path / "out" / "job.json").read_bytes()) == job()
    assert result.checkpoint is not None
    assert result.checkpoint.startswith(str(tmp_path / "out"))


def test_no_test_is_proposed_of_a_profile_that_is_no_detector(tmp_path):
    asked = ["train", "identity", "--profile", "synthetic", "--output", str(tmp_path / "out")]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 0, told.output
    assert "weights: " in told.output
    assert "next: " not in told.output


def test_a_folder_of_another_training_is_refused(tmp_path):
    run_training(job(), tmp_path, console())
    with pytest.raises(CommandError, match="holds another training") as caught:
        run_training(job(iterations=6), tmp_path, console())
    assert caught.value.status == BAD_INPUT


def test_a_crash_is_told_with_the_end_of_the_log(tmp_path):
    with pytest.raises(CommandError, match=r"without a result \(exit status 70\)"):
        run_training(job(fault="crash"), tmp_path, console())


@pytest.mark.slow
def test_a_voc_data_set_is_converted_by_the_trainer(tmp_path):
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    asked = ["convert-voc", str(tmp_path), "--output", str(tmp_path / "coco")]
    refused = CliRunner().invoke(app, asked)
    assert refused.exit_code == BAD_INPUT
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>9</ymax></bndbox>"
    size = "<size><width>20</width><height>10</height></size>"
    text = f"<annotation>{size}<object><name>cell</name>{box}</object></annotation>"
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    cv2.imwrite(str(tmp_path / "JPEGImages" / "a.jpg"), np.zeros((10, 20, 3), np.uint8))
    told = CliRunner().invoke(app, asked)
    file = tmp_path / "coco" / "train.json"
    assert told.output.splitlines() == [f"{file}: images 1, objects 1", "classes: cell"]
    again = CliRunner().invoke(app, [*asked, "--overwrite", "--json"])
    assert json.loads(again.output)["parts"]["train"] == {"file": str(file), "images": 1, "objects": 1}


@pytest.mark.parametrize("own", [None, "active"])
def test_threads_of_a_trainer_wait_passively_unless_the_environment_says_otherwise(
    own: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if own:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    names = ("OMP_WAIT_POLICY", "SHARE", "PYTHONIOENCODING")
    command = [sys.executable, "-c", f"import os; print(*(os.environ[name] for name in {names}))"]
    with start_trainer(command, environment={"SHARE": "1"}) as trainer:
        output, _ = trainer.communicate()
    assert output.decode().split() == [own or "passive", "1", "utf-8"]


@pytest.mark.slow
def test_an_interrupted_training_leaves_a_checkpoint_and_goes_on_from_it(tmp_path):
    def interrupt() -> None:
        wait_until(lambda: list(tmp_path.glob("checkpoint*")), "a first checkpoint")
        os.kill(os.getpid(), signal.SIGINT)

    slow = job(iterations=20, iteration_seconds=0.1)
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(CommandError, match="goes on from the checkpoint") as caught:
        run_training(slow, tmp_path, console())
    interrupter.join()
    assert caught.value.status == INTERRUPTED
    assert not (tmp_path / "result.json").exists()
    assert run_training(slow, tmp_path, console()).reward == run_training(slow, tmp_path / "whole", console()).reward
