"""One training on this machine, with the real trainer (the profile `synthetic`)."""

import io
import os
import signal
import threading

import pytest
from rich.console import Console
from stack import wait_until

from controller.cli.failures import BAD_INPUT, INTERRUPTED, CommandError
from controller.cli.local_training import run_training
from jobs.presets import identity
from jobs.spec import JobResult, JobSpec, SyntheticOptions


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


def test_a_folder_of_another_training_is_refused(tmp_path):
    run_training(job(), tmp_path, console())
    with pytest.raises(CommandError, match="holds another training") as caught:
        run_training(job(iterations=6), tmp_path, console())
    assert caught.value.status == BAD_INPUT


def test_a_crash_is_told_with_the_end_of_the_log(tmp_path):
    with pytest.raises(CommandError, match=r"without a result \(exit status 70\)"):
        run_training(job(fault="crash"), tmp_path, console())


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
