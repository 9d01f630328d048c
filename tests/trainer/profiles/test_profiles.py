from dataclasses import replace

import pytest
import torch

from paploss.jobs.losses import (
    ALRP,
    APL1,
    CEL1,
    LOSSES,
    CSEAutoLossB,
    FocalGIoU,
    FocalL1,
    HandmadeAP,
    HeadLoss,
    IoUBCE,
    ParameterizedAP,
    QFLGIoU,
    Varifocal,
)
from paploss.jobs.presets import PRESETS, as_parameterized, identity
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import DatasetSpec, Overrides
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.errors import UserError
from paploss.trainer.heads.objective import RankingObjective
from paploss.trainer.profiles import RECIPES, recipe_of
from paploss.trainer.profiles.losses import LossParts, complete


@pytest.fixture
def make_recipe(make_job, tmp_path):
    def make(**changes):
        job = make_job(**changes)
        return recipe_of(job, read_job_data(job, tmp_path).train)

    return make


def test_the_controller_knows_the_same_heads(make_recipe):
    for name in RECIPES:
        card = PROFILES[name]
        recipe = make_recipe(profile=name, loss=identity(card.heads))
        assert card.heads == tuple(head.name for head in recipe.heads)


def without_ranking(config):
    """A configuration without the arguments of its objectives."""
    if isinstance(config, dict):
        return {key: without_ranking(value) for key, value in config.items() if key != "ranking"}
    return [without_ranking(value) for value in config] if isinstance(config, list | tuple) else config


@pytest.mark.parametrize("profile", ["retinanet-tiny", "faster-rcnn-tiny", "atss-tiny"])
def test_a_rival_as_a_point_of_the_family_differs_from_itself_in_the_objective_alone(make_recipe, profile):
    point = as_parameterized(APL1(), PROFILES[profile].heads)
    rival, own = (make_recipe(profile=profile, loss=loss) for loss in (APL1(), point))
    assert without_ranking(rival.model) == without_ranking(own.model)
    assert rival.schedule == own.schedule
    for recipe, extensions in ((rival, (False, 0.0, 0.0)), (own, (True, 1.0, 0.0))):
        modules = build_detector(recipe.model, 0).modules()
        objectives = [module for module in modules if isinstance(module, RankingObjective)]
        assert len(objectives) == len(PROFILES[profile].heads)
        for one in objectives:
            assert (one.gradient_scale, one.weight, one.quality) == (1.0, 1.0, "giou")
            assert (one.error_driven, one.l1_weight, one.giou_weight) == extensions


def test_an_unknown_profile_is_named(make_recipe):
    with pytest.raises(UserError, match=r"profile: expected one of retinanet-tiny.*got 'yolo'"):
        make_recipe(profile="yolo")


def test_parameters_for_another_head_are_refused(make_recipe):
    with pytest.raises(UserError, match=r"loss\.heads: expected bbox_head"):
        make_recipe(loss=PRESETS["faster-rcnn"])


@pytest.mark.parametrize(
    ("names", "stds"),
    [
        (("ap_l1", "alrp", "rank_sort"), (0.1, 0.1, 0.2, 0.2)),
        (("focal_l1", "focal_giou", "cse_autoloss_b"), (1.0, 1.0, 1.0, 1.0)),
    ],
)
def test_the_box_coder_of_a_retinanet_follows_the_loss(make_recipe, names, stds):
    for name in names:
        assert make_recipe(loss=LOSSES[name]()).model["bbox_head"]["bbox_coder"]["target_stds"] == stds


def test_control_points_quality_and_scale_reach_the_head(make_recipe):
    points = identity(["bbox_head"]).heads["bbox_head"].control_points
    head = HeadLoss(control_points=points, gradient_scale=2.5, quality="l1")
    detector = build_detector(make_recipe(loss=ParameterizedAP(heads={"bbox_head": head})).model, seed=0)
    objective = detector.bbox_head.objective
    assert objective.gradient_scale == 2.5
    assert objective.quality == "l1"
    assert objective.control_points[0][1].tolist() == [0.2, 0.2]


@pytest.mark.parametrize(
    "loss",
    [PRESETS["retinanet"].model_copy(update={"top_k": 50}), HandmadeAP(form="sigmoid", top_k=50)],
    ids=lambda loss: loss.name,
)
def test_how_many_entries_compete_reaches_the_head(make_recipe, loss):
    detector = build_detector(make_recipe(loss=loss).model, seed=0)
    assert detector.bbox_head.objective.top_k == 50


def test_a_loss_that_cannot_be_trained_with_so_many_entries_is_refused(make_recipe):
    with pytest.raises(UserError, match=r"loss\.top_k: expected for the form sigmoid"):
        make_recipe(profile="retinanet-r50", loss=HandmadeAP(form="sigmoid"))


def test_the_seed_fixes_the_first_weights(make_recipe):
    model = make_recipe().model
    one, same, other = (build_detector(model, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_short_trainings_are_measured_on_low_scores_too(make_recipe):
    assert make_recipe(profile="retinanet-tiny").model["test_cfg"]["score_thr"] == 0.01
    assert make_recipe(profile="retinanet-r50").model["test_cfg"]["score_thr"] == 0.05


def test_tiny_does_not_enlarge_small_images(make_recipe):
    assert make_recipe(overrides=Overrides()).load_pipeline[-1]["scale"][1] == 128
    assert make_recipe(overrides=Overrides(image_size_px=96)).load_pipeline[-1]["scale"][1] == 96


def test_the_embedded_scenes_have_a_rate_of_their_own(make_job, tmp_path):
    data = read_job_data(make_job(), tmp_path).train
    photographs, scenes = (
        recipe_of(make_job(overrides=Overrides(), **changes), data).schedule
        for changes in ({}, {"dataset": DatasetSpec()})
    )
    assert (photographs.learning_rate, photographs.batch_size) == (8e-3, 8)
    assert (scenes.learning_rate, scenes.batch_size) == (2e-3, 4)


def test_r50_has_the_published_schedules(make_recipe):
    proxy = make_recipe(profile="retinanet-r50", overrides=Overrides()).schedule
    assert (proxy.epochs, proxy.batch_size, proxy.learning_rate, proxy.decay) == (1, 64, 0.016, "constant")
    assert (proxy.optimizer, proxy.momentum, proxy.weight_decay, proxy.warmup_iterations) == ("sgd", 0.9, 1e-4, 500)
    final = make_recipe(profile="retinanet-r50", schedule="final", overrides=Overrides())
    assert (final.schedule.epochs, final.schedule.decay, final.schedule.milestones) == (100, "steps", (0.6, 0.8))
    assert final.model["test_cfg"]["nms"]["iou_threshold"] == 0.6


def test_r50_scales_the_learning_rate_with_the_batch(make_recipe):
    assert make_recipe(profile="retinanet-r50", overrides=Overrides(batch_size=16)).schedule.learning_rate == 0.004
    given = Overrides(batch_size=16, learning_rate=0.1)
    assert make_recipe(profile="retinanet-r50", overrides=given).schedule.learning_rate == 0.1


def test_a_factor_is_on_the_rate_that_the_profile_or_the_request_set(make_recipe):
    given = Overrides(learning_rate=0.1)
    for changes in ({}, {"overrides": given}, {"profile": "retinanet-r50"}):
        plain = make_recipe(**changes).schedule
        doubled = make_recipe(learning_rate_factor=2.0, **changes).schedule
        assert doubled == replace(plain, learning_rate=2 * plain.learning_rate)


def test_r50_freezes_the_first_stage_of_pretrained_weights_only(make_recipe):
    for weights, stages in ((None, -1), ("resnet50.pth", 1)):
        backbone = make_recipe(profile="retinanet-r50", weights=weights).model["backbone"]
        assert backbone["frozen_stages"] == stages
        assert backbone["norm_eval"] == (weights is not None)


def test_a_table_that_leaves_out_a_loss_or_has_one_too_many_does_not_import():
    parts = {record: LossParts({}) for record in (FocalL1, FocalGIoU, QFLGIoU, Varifocal, IoUBCE, CSEAutoLossB)}
    assert complete("retinanet", parts) == parts
    with pytest.raises(TypeError, match=r"retinanet: expected parts for .*, not so for FocalL1"):
        complete("retinanet", {record: one for record, one in parts.items() if record is not FocalL1})
    with pytest.raises(TypeError, match="not so for ALRP, CEL1"):
        complete("retinanet", {**parts, CEL1: LossParts({}), ALRP: LossParts({})})
