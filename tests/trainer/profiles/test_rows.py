"""Every loss on every detector that it fits: the rows of the result tables, and more."""

from typing import get_args

import pytest
import torch

from paploss.jobs.losses import ALRP, LOSSES, LossSpec
from paploss.jobs.presets import PRESETS
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import Overrides, Precision
from paploss.trainer.datasets.loading import SampleOrder, TrainingSamples, training_batches
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.divergence import total_loss
from paploss.trainer.precision import compute_in
from paploss.trainer.profiles import RECIPES, recipe_of
from paploss.trainer.schedule import build_optimizer


def rows(ending: str) -> list[tuple[str, str]]:
    """(profile, loss) of each row for the profiles of one size."""
    return [
        (profile, name)
        for profile in RECIPES
        for name, card in LOSSES.items()
        if profile.endswith(ending) and PROFILES[profile].detector in card.detectors
    ]


def loss_named(name: str, profile: str) -> LossSpec:
    if name == "parameterized_ap":
        return PRESETS[PROFILES[profile].preset]
    return LossSpec(name=name, form="linear" if name == "handmade_ap" else None)


@pytest.fixture
def take_two_steps(make_job, tmp_path):
    def take(profile: str, name: str, precision: str = "float32") -> None:
        overrides = Overrides(batch_size=2, image_size_px=64, precision=precision)
        job = make_job(profile=profile, loss=loss_named(name, profile), overrides=overrides)
        data = read_job_data(job, tmp_path)
        recipe = recipe_of(job, data.train)
        detector = build_detector(recipe.model, seed=0).train()
        compute_in(detector, recipe)
        optimizer = build_optimizer(detector, recipe.schedule)
        samples = TrainingSamples(data.train, recipe, seed=0)
        order = SampleOrder(image_count=len(samples), batch_size=2, seed=0, start_iteration=0, total_iterations=2)
        watched = {head.name: next(detector.get_submodule(head.module).parameters()) for head in recipe.heads}
        before = {head: weights.detach().clone() for head, weights in watched.items()}
        for batch in training_batches(samples, order, 0, torch.device("cpu")):
            inputs = detector.data_preprocessor(batch, training=True)
            losses = detector(**inputs, mode="loss")
            loss = total_loss([value for key, value in losses.items() if "loss" in key])
            optimizer.zero_grad()
            loss.backward()
            assert loss.isfinite()
            assert loss.dtype == torch.float32
            assert all(one.grad is not None and one.grad.isfinite().all() for one in detector.parameters())
            optimizer.step()
        assert not any(torch.equal(before[head], watched[head]) for head in watched)

    return take


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize(("profile", "name"), rows("-tiny"))
def test_tiny_takes_two_steps(take_two_steps, profile, name, precision):
    take_two_steps(profile, name, precision)


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "name"), rows("-r50"))
def test_r50_takes_two_steps(take_two_steps, profile, name):
    take_two_steps(profile, name)


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
