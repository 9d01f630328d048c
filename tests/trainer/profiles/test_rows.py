"""Every loss on every detector that it fits: the rows of the result tables, and more."""

from dataclasses import replace

import pytest
import torch

from paploss.jobs.losses import ALRP, LOSSES, LossSpec, parse_loss
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import Overrides
from paploss.trainer.datasets.loading import SampleOrder, TrainingSamples, training_batches
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.minimised import minimised_loss
from paploss.trainer.precision import compute_in
from paploss.trainer.profiles import RECIPES, recipe_of
from paploss.trainer.schedule import build_optimizer


def rows(ending: str) -> list[tuple[str, str]]:
    """(profile, loss) of each row for the profiles of one size."""
    return [
        (profile, name)
        for profile in RECIPES
        for name, record in LOSSES.items()
        if profile.endswith(ending) and PROFILES[profile].detector in record.rates
    ]


def loss_named(name: str, profile: str) -> LossSpec:
    if name == "parameterized_ap":
        card = PROFILES[profile]
        return PRESETS[card.preset] if card.preset else identity(card.heads)
    return parse_loss({"name": name} | ({"form": "linear"} if name == "handmade_ap" else {}), strict=True)


@pytest.fixture
def take_a_step_in_each(make_job, tmp_path):
    """Takes a step in each of some precisions with one detector."""

    def take(profile: str, name: str, *precisions: str) -> None:
        job = make_job(
            profile=profile, loss=loss_named(name, profile), overrides=Overrides(batch_size=2, image_size_px=64)
        )
        data = read_job_data(job, tmp_path)
        recipe = recipe_of(job, data.train)
        detector = build_detector(recipe.model, seed=0).train()
        optimizer = build_optimizer(detector, recipe.schedule)
        samples = TrainingSamples(data.train, recipe, seed=0)
        total = len(precisions)
        order = SampleOrder(image_count=len(samples), batch_size=2, seed=0, start_iteration=0, total_iterations=total)
        watched = {head.name: next(detector.get_submodule(head.module).parameters()) for head in recipe.heads}
        batches = training_batches(samples, order, 0, torch.device("cpu"))
        for precision, batch in zip(precisions, batches, strict=True):
            compute_in(detector, replace(recipe, precision=precision))
            before = {head: weights.detach().clone() for head, weights in watched.items()}
            outputs = detector(**detector.data_preprocessor(batch, training=True), mode="loss")
            assert {name for head in recipe.heads for name in head.losses} == {key for key in outputs if "loss" in key}
            loss = minimised_loss(outputs, recipe.heads)
            optimizer.zero_grad()
            loss.backward()
            assert loss.isfinite()
            assert loss.dtype == torch.float32
            assert all(one.grad is not None and one.grad.isfinite().all() for one in detector.parameters())
            optimizer.step()
            assert not any(torch.equal(before[head], watched[head]) for head in watched)

    return take


@pytest.mark.parametrize(("profile", "name"), rows("-tiny"))
def test_tiny_takes_a_step_in_each_precision(take_a_step_in_each, profile, name):
    take_a_step_in_each(profile, name, "float32", "bf16")


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "name"), rows("-r50"))
def test_r50_takes_two_steps(take_a_step_in_each, profile, name):
    take_a_step_in_each(profile, name, "float32", "float32")


PUBLISHED = [
    ("retinanet-r50", "parameterized_ap", 0.016, 64),
    ("retinanet-r50", "focal_l1", 0.016, 64),
    ("retinanet-r50", "focal_giou", 0.016, 64),
    ("retinanet-r50", "alrp", 0.008, 32),
    ("retinanet-r50", "ap_l1", 0.002, 32),
    ("faster-rcnn-r50", "parameterized_ap", 0.024, 64),
    ("faster-rcnn-r50", "alrp", 0.012, 32),
    ("faster-rcnn-r50", "ce_giou", 0.04, 64),
    ("atss-r50", "focal_giou", 0.01, 16),
    ("atss-r50", "qfl_giou", 0.01, 16),
    ("atss-r50", "varifocal", 0.01, 16),
]


@pytest.mark.parametrize("row", PUBLISHED)
def test_rates_and_batch_sizes_are_the_published_ones(make_job, tmp_path, row):
    profile, name, rate, batch_size = row
    job = make_job(profile=profile, loss=loss_named(name, profile), schedule="final", overrides=Overrides())
    schedule = recipe_of(job, read_job_data(job, tmp_path).train).schedule
    assert (schedule.learning_rate, schedule.batch_size, schedule.epochs) == (rate, batch_size, 100)


def test_alrp_takes_the_boxes_of_an_rpn_from_its_own_iou_and_a_fifth_of_its_loss(make_job, tmp_path):
    job = make_job(profile="faster-rcnn-r50", loss=ALRP())
    model = recipe_of(job, read_job_data(job, tmp_path).train).model
    ranking = model["rpn_head"]["ranking"]
    assert (ranking["positive_iou"], ranking["weight"]) == (0.7, 0.2)
    assert "weight" not in model["roi_head"]["bbox_head"]["ranking"]
