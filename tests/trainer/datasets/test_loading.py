import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate

from paploss.trainer.datasets.loading import (
    EvaluationSamples,
    SampleOrder,
    TrainingSamples,
    evaluation_batches,
    training_batches,
)
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.errors import MachineError, UserError
from paploss.trainer.profiles import recipe_of

CPU = torch.device("cpu")


def order(**changes):
    given = {"image_count": 10, "batch_size": 4, "seed": 3, "start_iteration": 0, "total_iterations": 5}
    return list(SampleOrder(**{**given, **changes}))


def test_each_pass_shows_every_image_once_in_its_own_order():
    keys = [key for batch in order() for key in batch]
    passes = [[key.position for key in keys if key.epoch == epoch] for epoch in (0, 1)]
    assert [sorted(one) for one in passes] == [list(range(10))] * 2
    assert passes[0] != passes[1]
    assert all(len(batch) == 4 for batch in order())


def test_order_goes_on_where_it_was_left():
    assert order(start_iteration=2) == order()[2:]


def test_order_follows_the_seed():
    assert order() == order()
    assert order(seed=4) != order()


def test_devices_share_each_batch():
    whole = order()
    parts = [order(device=device, device_count=2) for device in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert sorted(batch) == sorted(first + second)
        assert len(first) == len(second) == 2


@pytest.mark.parametrize("profile", ["retinanet-tiny", "retinanet-r50"])
def test_samples_depend_on_seed_epoch_and_image_alone(make_job, tmp_path, profile):
    job = make_job(profile=profile)
    data = read_job_data(job, tmp_path)
    recipe = recipe_of(job, data.train)
    keys = [key for batch in order(image_count=11, total_iterations=3) for key in batch]
    forwards, backwards = TrainingSamples(data.train, recipe, 0), TrainingSamples(data.train, recipe, 0)
    once = {key: forwards[key] for key in keys}
    again = {key: backwards[key] for key in reversed(keys)}
    other_seed = TrainingSamples(data.train, recipe, 1)
    same = []
    for key in keys:
        assert torch.equal(once[key]["inputs"], again[key]["inputs"])
        boxes = [one[key]["data_samples"].gt_instances.bboxes.tensor for one in (once, again)]
        assert torch.equal(*boxes)
        same.append(torch.equal(once[key]["inputs"], other_seed[key]["inputs"]))
    assert not all(same)


def test_loading_processes_change_nothing(make_job, tmp_path):
    job = make_job()
    data = read_job_data(job, tmp_path)
    samples = TrainingSamples(data.train, recipe_of(job, data.train), 0)
    keys = SampleOrder(image_count=11, batch_size=4, seed=0, start_iteration=0, total_iterations=3)
    batches = [list(training_batches(samples, keys, count, CPU)) for count in (0, 2)]
    assert len(batches[0]) == 3
    for alone, shared in zip(*batches, strict=True):
        assert torch.equal(alone["inputs"], shared["inputs"])
        for one, other in zip(alone["data_samples"], shared["data_samples"], strict=True):
            assert one.metainfo == other.metainfo
            assert torch.equal(one.gt_instances.bboxes, other.gt_instances.bboxes)
            assert torch.equal(one.ignored_instances.bboxes, other.ignored_instances.bboxes)


def test_a_batch_is_what_the_detector_made_of_mmdets_own_collation(make_job, tmp_path):
    job = make_job()
    data = read_job_data(job, tmp_path)
    recipe = recipe_of(job, data.train)
    preprocess = build_detector(recipe.model, seed=0).data_preprocessor
    samples = TrainingSamples(data.train, recipe, 0)
    keys = SampleOrder(image_count=11, batch_size=4, seed=0, start_iteration=0, total_iterations=1)
    (batch,) = training_batches(samples, keys, 0, CPU)
    (mine,) = keys
    ours, theirs = preprocess(batch, True), preprocess(pseudo_collate([samples[key] for key in mine]), True)
    assert torch.equal(ours["inputs"], theirs["inputs"])
    for one, other in zip(ours["data_samples"], theirs["data_samples"], strict=True):
        assert one.metainfo == other.metainfo
        assert torch.equal(one.gt_instances.bboxes, other.gt_instances.bboxes)
        assert torch.equal(one.gt_instances.labels, other.gt_instances.labels)


def test_crowds_are_apart_from_the_objects(make_job, tmp_path):
    job = make_job()
    data = read_job_data(job, tmp_path)
    samples = TrainingSamples(data.train, recipe_of(job, data.train), 0)
    total = sum(
        len(samples[key]["data_samples"].ignored_instances)
        for key in order(image_count=len(samples), batch_size=len(samples), total_iterations=1)[0]
    )
    assert total == 1


@pytest.mark.parametrize("process_count", [0, 1])
def test_a_missing_image_is_named_in_one_sentence(make_job, tmp_path, coco_root: Path, process_count):
    data = read_job_data(make_job(), tmp_path)
    pipeline = recipe_of(make_job(), data.train).test_pipeline
    folder = coco_root / "nowhere"
    samples = EvaluationSamples(replace(data.test, image_folder=folder), pipeline, [1, 0])
    with pytest.raises(UserError) as caught:
        list(evaluation_batches(samples, 2, process_count, CPU))
    (sentence,) = str(caught.value).splitlines()
    assert sentence.startswith(f"{folder}/000000000002.png: cannot be read as an image: ")


def test_an_image_that_becomes_a_pipe_after_the_check_is_not_waited_for(make_job, tmp_path):
    data = read_job_data(make_job(), tmp_path)
    pipeline = recipe_of(make_job(), data.train).test_pipeline
    samples = EvaluationSamples(replace(data.test, image_folder=tmp_path), pipeline, [0])
    file = tmp_path / data.test.images[0]["file_name"]
    os.mkfifo(file)
    with pytest.raises(UserError, match=f"{file}: cannot be read as an image: it is no file"):
        list(evaluation_batches(samples, 1, 0, CPU))


@pytest.mark.parametrize("process_count", [0, 1])
def test_a_disk_that_gives_errors_is_not_the_images_fault(make_job, tmp_path, process_count):
    data = read_job_data(make_job(), tmp_path)
    pipeline = recipe_of(make_job(), data.train).test_pipeline
    samples = EvaluationSamples(replace(data.test, image_folder=tmp_path), pipeline, [0])
    file = tmp_path / data.test.images[0]["file_name"]
    file.symlink_to("/proc/self/mem")  # a regular file whose reading is an input/output error
    with pytest.raises(MachineError, match=f"^{file}: cannot be read: Input/output error$"):
        list(evaluation_batches(samples, 1, process_count, CPU))
