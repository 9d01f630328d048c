from pathlib import Path

import pytest
import torch

from trainer.datasets.loading import EvaluationSamples, SampleOrder, TrainingSamples, training_loader
from trainer.datasets.sources import read_job_data
from trainer.errors import UserError
from trainer.profiles import recipe_of


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
    batches = [
        list(
            training_loader(
                samples, SampleOrder(image_count=11, batch_size=4, seed=0, start_iteration=0, total_iterations=3), count
            )
        )
        for count in (0, 2)
    ]
    for alone, shared in zip(*batches, strict=True):
        assert all(torch.equal(*pair) for pair in zip(alone["inputs"], shared["inputs"], strict=True))


def test_crowds_are_apart_from_the_objects(make_job, tmp_path):
    job = make_job()
    data = read_job_data(job, tmp_path)
    samples = TrainingSamples(data.train, recipe_of(job, data.train), 0)
    total = sum(
        len(samples[key]["data_samples"].ignored_instances)
        for key in order(image_count=len(samples), batch_size=len(samples), total_iterations=1)[0]
    )
    assert total == 1


def test_a_missing_image_is_named(make_job, tmp_path, coco_root: Path):
    data = read_job_data(make_job(), tmp_path)
    pipeline = recipe_of(make_job(), data.train).test_pipeline
    broken = type(data.test)(**{**vars(data.test), "image_folder": coco_root / "nowhere"})
    with pytest.raises(UserError, match=r"nowhere/000000000001\.png: cannot be read as an image"):
        EvaluationSamples(broken, pipeline, [0])[0]
