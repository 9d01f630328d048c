"""The trainer as its callers see it: a process with arguments, standard output, signals and an exit status."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paploss.jobs.spec import EVENT, EXIT_INTERRUPTED, JobResult, SyntheticOptions


def trainer(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "paploss.trainer", *map(str, arguments)]


def run(*arguments: object, **environment: str) -> tuple[int, list, str]:
    """Exit status, events, standard error."""
    done = subprocess.run(
        trainer(*arguments), capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    return done.returncode, [EVENT.validate_json(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture
def write_job(make_job, tmp_path):
    def write(**changes) -> Path:
        file = tmp_path / "job.json"
        file.write_text(make_job(**changes).model_dump_json())
        return file

    return write


@pytest.fixture
def synthetic_job(write_job):
    def write(**options) -> Path:
        return write_job(profile="synthetic", synthetic=SyntheticOptions(**options))

    return write


def test_a_synthetic_job_ends_with_a_result_and_loads_no_torch(synthetic_job, tmp_path):
    check = (
        "import sys, paploss.trainer.commands as c;"
        "c.main(); sys.exit({'torch', 'mmdet', 'numpy'} & set(sys.modules) != set())"
    )
    command = [sys.executable, "-c", check, "run", str(synthetic_job()), "--state", str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert EVENT.validate_json(done.stdout.splitlines()[-1]).outcome == "succeeded"


def test_sigterm_stops_the_job_with_a_checkpoint(synthetic_job, tmp_path):
    arguments = ("run", synthetic_job(iterations=10_000, iteration_seconds=0.01), "--state", tmp_path / "state")
    with subprocess.Popen(trainer(*arguments), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if '"progress"' in line:
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read().splitlines()
    assert process.returncode == EXIT_INTERRUPTED
    assert EVENT.validate_json(rest[-1]).event == "checkpoint"


def test_a_crash_leaves_no_result(synthetic_job, tmp_path):
    status, events, _ = run("run", synthetic_job(fault="crash", fault_iteration=3), "--state", tmp_path / "state")
    assert status not in {0, EXIT_INTERRUPTED}
    assert not any(isinstance(event, JobResult) for event in events)


@pytest.mark.parametrize(("fault", "kind"), [("out_of_memory", "out_of_memory"), ("user_error", "user")])
def test_failures_are_results(synthetic_job, tmp_path, fault, kind):
    status, events, _ = run("run", synthetic_job(fault=fault), "--state", tmp_path / "state")
    assert status == 0
    assert (events[-1].outcome, events[-1].error_kind) == ("failed", kind)


@pytest.mark.slow
def test_a_machine_without_its_gpu_is_a_crash_told_in_one_sentence(write_job, tmp_path):
    status, events, _ = run("run", write_job(gpus=1), "--state", tmp_path / "state", CUDA_VISIBLE_DEVICES="")
    assert status == 0
    assert events[-1].error_kind == "crash"
    assert events[-1].error == "gpus: the job asks for 1, this machine has 0"


def test_a_hanging_job_ignores_sigterm(synthetic_job, tmp_path):
    arguments = ("run", synthetic_job(fault="hang", fault_iteration=1), "--state", tmp_path / "state")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(trainer(*arguments), **quiet) as process:
        assert any("hanging" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("text", "message"), [("{", "Invalid JSON"), ('{"colour": 1}', "colour"), (None, "cannot be read")]
)
def test_a_job_file_that_is_wrong_is_named(tmp_path, text, message):
    file = tmp_path / "job.json"
    if text is not None:
        file.write_text(text)
    status, events, _ = run("run", file, "--state", tmp_path / "state")
    assert status == 0
    assert events[-1].error_kind == "user"
    assert "job.json" in events[-1].error
    assert message in events[-1].error


def test_a_state_folder_that_cannot_be_created_is_named(synthetic_job, tmp_path):
    (tmp_path / "file").touch()
    status, events, _ = run("run", synthetic_job(), "--state", tmp_path / "file" / "state")
    assert status == 0
    assert events[-1].error == f"{tmp_path}/file/state: cannot be created: Not a directory"


def test_an_output_that_cannot_be_written_is_named(synthetic_job, tmp_path):
    output = tmp_path / "missing" / "loss.py"
    done = subprocess.run(trainer("module", synthetic_job(), "--output", output), capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.decode() == f"paploss: {output}: cannot be written: No such file or directory\n"


@pytest.mark.slow
def test_a_real_training_owns_stdout_and_its_final_weights_can_be_evaluated(write_job, tmp_path):
    job = write_job(kind="final")
    status, events, log = run("run", job, "--state", tmp_path / "state", PAPLOSS_COMMIT="abc123")
    assert status == 0, log
    result = events[-1]
    assert events[0].environment["commit"] == "abc123"
    weights = Path(result.checkpoint)
    assert {one.name for one in weights.parent.iterdir()} == {"detector.pth", "config.py", "origin.json"}
    assert json.loads((weights.parent / "origin.json").read_text())["metrics"]["ap"] == result.reward

    command = trainer("evaluate", "--checkpoint", weights, "--split", "val")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    assert (measured.pop("split"), measured.pop("images")) == ("val", 6)
    assert measured == result.metrics.model_dump(mode="json")


def test_split_prints_the_files_and_errors_name_them(coco_root, tmp_path):
    file = tmp_path / "instances_train2017.json"
    file.write_bytes((coco_root / "annotations" / file.name).read_bytes())
    command = trainer("split", file, "--val", 0.25)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["val"] == str(tmp_path / "search_val2017.json")
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert again.stderr.startswith(f"paploss: {tmp_path / 'search_train2017.json'}: exists already")
