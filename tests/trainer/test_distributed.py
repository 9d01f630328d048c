"""Two processes on the CPU, started by torchrun, as a training on several GPUs is."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from mmengine.dataset import pseudo_collate
from pydantic import TypeAdapter
from torch import nn

from jobs.spec import EXIT_HANDED_BACK, CheckpointEvent, Event, JobResult, Overrides
from trainer.datasets.loading import SampleOrder, TrainingSamples
from trainer.datasets.sources import read_job_data
from trainer.detectors import build_detector
from trainer.profiles import recipe_of

EVENTS = TypeAdapter(Event)
LAUNCH = "import sys; from trainer.launch import run_on_gpus; sys.exit(run_on_gpus(sys.argv[1:], 2))"


def start(job, state) -> subprocess.Popen:
    command = [sys.executable, "-c", LAUNCH, "run", str(job), "--state", str(state), "--checkpoint-seconds", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_the_gradient_is_the_mean_over_the_processes_of_the_loss_of_each(make_job, tmp_path):
    spec = make_job(overrides=Overrides(epochs=1, batch_size=12, image_size_px=64))
    job = tmp_path / "job.json"
    job.write_text(spec.model_dump_json())
    with start(job, tmp_path / "state") as process:
        events = [EVENTS.validate_json(line) for line in process.stdout]
    assert process.returncode == 0
    assert [type(event) for event in events].count(JobResult) == 1
    assert (events[-1].outcome, events[-1].iterations) == ("succeeded", 1)

    data = read_job_data(spec, tmp_path)
    recipe = recipe_of(spec, data.train)
    samples = TrainingSamples(data.train, recipe, spec.seed)
    gradients = []
    for device in range(2):
        detector = build_detector(recipe.model, spec.seed)
        order = {"image_count": 12, "batch_size": 12, "seed": 0, "start_iteration": 0, "total_iterations": 1}
        (keys,) = SampleOrder(**order, device=device, device_count=2)
        batch = detector.data_preprocessor(pseudo_collate([samples[key] for key in keys]), training=True)
        detector(**batch, mode="loss")["loss_rank"].backward()
        gradients.append([parameter.grad for parameter in detector.parameters()])
    for parameter, *each in zip(detector.parameters(), *gradients, strict=True):
        parameter.grad = torch.stack(each).mean(0)
    nn.utils.clip_grad_norm_(detector.parameters(), recipe.schedule.clip_norm)
    state = torch.load(tmp_path / "state" / "checkpoint.pt", weights_only=True)["optimizer"]["state"]
    for number, parameter in enumerate(detector.parameters()):
        # Adam's first moment after one step is a tenth of the gradient.
        torch.testing.assert_close(state[number]["exp_avg"] * 10, parameter.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_sigterm_to_the_launcher_hands_the_job_back(make_job, tmp_path):
    job = tmp_path / "job.json"
    job.write_text(make_job(overrides=Overrides(epochs=1000, batch_size=4, image_size_px=64)).model_dump_json())
    with start(job, tmp_path / "state") as process:
        for line in process.stdout:
            if '"progress"' in line:
                break
        process.send_signal(signal.SIGTERM)
        rest = [EVENTS.validate_json(line) for line in process.stdout]
    assert process.returncode == EXIT_HANDED_BACK
    assert isinstance(rest[-1], CheckpointEvent)
