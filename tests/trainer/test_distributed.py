"""Two processes on the CPU, started by torchrun, as a training on several GPUs is."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import weakref
from dataclasses import fields

import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from paploss.jobs.spec import EVENT, EXIT_INTERRUPTED, CheckpointEvent, JobResult, Overrides
from paploss.trainer.datasets.loading import SampleOrder, TrainingSamples
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.distributed import joined
from paploss.trainer.errors import Interrupted
from paploss.trainer.heads.ranked import Ranked
from paploss.trainer.launch import _root_failure, leave_failure
from paploss.trainer.profiles import recipe_of

LAUNCH = "import sys; from paploss.trainer.launch import run_on_gpus; sys.exit(run_on_gpus(sys.argv[1:], 2))"

LATE = """
import datetime, time, torch, torch.distributed as dist
from paploss.trainer.distributed import average, leaving_together, rank
dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=10))
with leaving_together():
    if rank() == 0:
        time.sleep(15)
average(torch.ones(1))
dist.destroy_process_group()
"""
"""One process is late by more than the others wait for it elsewhere."""


def start(job, state) -> subprocess.Popen:
    command = [sys.executable, "-c", LAUNCH, "run", str(job), "--state", str(state), "--checkpoint-seconds", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def device_batches(spec, recipe, folder):
    """What each of two devices trains on in the first step, as mmdet collates it."""
    samples = TrainingSamples(read_job_data(spec, folder).train, recipe, spec.seed)
    order = {"image_count": 12, "batch_size": 12, "seed": 0, "start_iteration": 0, "total_iterations": 1}
    for device in range(2):
        (keys,) = SampleOrder(**order, device=device, device_count=2)
        yield pseudo_collate([samples[key] for key in keys])


def mean_of_each(spec, recipe, folder):
    """Gradients of the mean over the devices of the loss of each."""
    gradients = []
    for batch in device_batches(spec, recipe, folder):
        detector = build_detector(recipe.model, spec.seed)
        detector(**detector.data_preprocessor(batch, training=True), mode="loss")["loss_rank"].backward()
        gradients.append([parameter.grad for parameter in detector.parameters()])
    return [torch.stack(each).mean(0) for each in zip(*gradients, strict=True)]


def of_one_loss(spec, recipe, folder):
    """Gradients of one loss over the outputs of both devices, on each of which the batch is normalised by itself."""
    detector, given = build_detector(recipe.model, spec.seed), []
    objective = detector.bbox_head.objective
    objective.register_forward_pre_hook(lambda _, arguments: given.extend(arguments))
    for batch in device_batches(spec, recipe, folder):
        detector(**detector.data_preprocessor(batch, training=True), mode="loss")
    first, second = given
    output_sum = first.output_sum + second.output_sum
    rows = {
        field.name: torch.cat([getattr(one, field.name) for one in (first, second)])
        for field in fields(Ranked)
        if field.name != "output_sum"
    }
    objective(Ranked(**rows, output_sum=output_sum))["loss_rank"].backward()
    return [parameter.grad for parameter in detector.parameters()]


@pytest.mark.parametrize(("gather_scores", "expect"), [(True, of_one_loss), (False, mean_of_each)])
@pytest.mark.slow
def test_the_gradient_is_of_one_loss_over_all_devices_or_the_mean_of_each(make_job, tmp_path, gather_scores, expect):
    overrides = Overrides(epochs=1, batch_size=12, image_size_px=64)
    spec = make_job(overrides=overrides, gather_scores=gather_scores)
    job = tmp_path / "job.json"
    job.write_text(spec.model_dump_json())
    with start(job, tmp_path / "state") as process:
        events = [EVENT.validate_json(line) for line in process.stdout]
    assert process.returncode == 0
    assert [type(event) for event in events].count(JobResult) == 1
    assert (events[-1].outcome, events[-1].iterations) == ("succeeded", 1)

    recipe = recipe_of(spec, read_job_data(spec, tmp_path).train)
    detector = build_detector(recipe.model, spec.seed)
    for parameter, gradient in zip(detector.parameters(), expect(spec, recipe, tmp_path), strict=True):
        parameter.grad = gradient
    nn.utils.clip_grad_norm_(detector.parameters(), recipe.schedule.clip_norm)
    state = torch.load(tmp_path / "state" / "checkpoint.pt", weights_only=True)["optimizer"]["state"]
    for number, parameter in enumerate(detector.parameters()):
        # Adam's first moment after one step is a tenth of the gradient.
        torch.testing.assert_close(state[number]["exp_avg"] * 10, parameter.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_what_one_device_alone_fails_of_is_the_result(make_job, tmp_path, coco_root):
    root = tmp_path / "broken"
    shutil.copytree(coco_root, root)
    spec = make_job(overrides=Overrides(epochs=1, batch_size=4, image_size_px=64))
    spec = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"root": str(root)})})
    order = {"image_count": 12, "batch_size": 4, "seed": 0, "start_iteration": 0, "total_iterations": 1}
    (keys,) = SampleOrder(**order, device=1, device_count=2)  # every image has an object: positions are the file's
    image = root / "train2017" / f"{keys[0].position + 1:012d}.png"
    image.write_bytes(b"no image")
    job = tmp_path / "job.json"
    job.write_text(spec.model_dump_json())
    with start(job, tmp_path / "state") as process:
        events = [EVENT.validate_json(line) for line in process.stdout]
    assert process.returncode == 0
    assert [type(event) for event in events].count(JobResult) == 1
    assert events[-1].error_kind == "user"
    assert events[-1].error.startswith(f"{image}: cannot be read as an image: ")


def failed(kind: str) -> JobResult:
    return JobResult(outcome="failed", error_kind=kind, error=kind)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], None),
        (["crash"], "crash"),
        (["crash", "user"], "user"),
        (["out_of_memory", "crash"], "out_of_memory"),
        (["crash", "out_of_memory", "user"], "out_of_memory"),
    ],
)
def test_the_first_failure_that_is_no_crash_is_the_root_cause(tmp_path, monkeypatch, kinds, expected):
    monkeypatch.setenv("PAPLOSS_FAILURES", str(tmp_path))
    for number, kind in enumerate(kinds):
        rank = len(kinds) - number
        monkeypatch.setenv("RANK", str(rank))
        assert leave_failure(failed(kind))
        os.utime(tmp_path / f"{rank}.json", (number, number))
    found = _root_failure(tmp_path)
    assert (found and found.error_kind) == expected


def test_a_process_without_a_launcher_reports_its_failure_itself(monkeypatch):
    monkeypatch.delenv("PAPLOSS_FAILURES", raising=False)
    assert not leave_failure(failed("user"))


def test_an_error_keeps_nothing_of_a_training_alive_beyond_its_group():
    held = []

    def train():
        parallel = nn.Linear(1, 1)
        held.append(weakref.ref(parallel))
        raise Interrupted("stopped")

    with pytest.raises(Interrupted), joined(0):
        train()
    assert held[0]() is None


@pytest.mark.slow
def test_processes_wait_for_one_longer_than_for_a_sum():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, "-c", LATE]
    started = [subprocess.Popen(command, env=common | {"RANK": str(rank)}) for rank in range(2)]
    assert [process.wait() for process in started] == [0, 0]


@pytest.mark.slow
def test_sigterm_to_the_launcher_stops_the_job(make_job, tmp_path):
    job = tmp_path / "job.json"
    job.write_text(make_job(overrides=Overrides(epochs=1000, batch_size=4, image_size_px=64)).model_dump_json())
    with start(job, tmp_path / "state") as process:
        for line in process.stdout:
            if '"progress"' in line:
                break
        process.send_signal(signal.SIGTERM)
        rest = [EVENT.validate_json(line) for line in process.stdout]
    assert process.returncode == EXIT_INTERRUPTED
    assert isinstance(rest[-1], CheckpointEvent)
