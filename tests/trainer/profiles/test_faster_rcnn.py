"""What each loss makes of a Faster R-CNN, and the whole detector at its edges."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from paploss.jobs.losses import LOSSES, CSEAutoLossB, FocalL1, LossSpec
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.spec import Overrides
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.divergence import DivergenceWatch
from paploss.trainer.errors import UserError
from paploss.trainer.minimised import minimised_loss
from paploss.trainer.profiles import recipe_of
from paploss.trainer.profiles.recipe import Recipe

PUBLISHED = PRESETS["faster-rcnn"]
NAMED = {name: LOSSES[name]() for name in ("ap_l1", "alrp", "rank_sort", "ce_l1", "ce_giou", "cse_autoloss_a")}
RANKING = {"parameterized_ap": PUBLISHED, **{name: NAMED[name] for name in ("ap_l1", "alrp", "rank_sort")}}
SIDE_PX = 64


@pytest.fixture
def make_recipe(make_job, tmp_path):
    def make(loss: LossSpec = PUBLISHED, profile: str = "faster-rcnn-tiny", **changes) -> Recipe:
        job = make_job(profile=profile, loss=loss, **changes)
        return recipe_of(job, read_job_data(job, tmp_path).train)

    return make


def sample(boxes: list[list[float]]) -> DetDataSample:
    shape = (SIDE_PX, SIDE_PX)
    found = DetDataSample(
        metainfo={"img_shape": shape, "pad_shape": shape, "batch_input_shape": shape, "scale_factor": (1.0, 1.0)}
    )
    corners = torch.tensor(boxes).reshape(-1, 4)
    found.gt_instances = InstanceData(bboxes=corners, labels=torch.ones(len(corners), dtype=torch.long))
    return found


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("loss", RANKING.values(), ids=RANKING)
def test_losses_that_rank_draw_no_examples(make_recipe, loss):
    model = make_recipe(loss).model
    assert [model["train_cfg"][stage]["sampler"] for stage in ("rpn", "rcnn")] == [{"type": "PseudoSampler"}] * 2
    assert model["rpn_head"]["type"] == "RankingRPNHead"
    assert model["roi_head"]["bbox_head"]["type"] == "RankingBBoxHead"


@pytest.mark.parametrize("name", ["ce_l1", "ce_giou", "cse_autoloss_a"])
def test_the_others_draw_examples_as_mmdet_does(make_recipe, name):
    model = make_recipe(NAMED[name]).model
    rpn, rcnn = (model["train_cfg"][stage]["sampler"] for stage in ("rpn", "rcnn"))
    assert (rpn["type"], rpn["num"], rpn["pos_fraction"], rpn["add_gt_as_proposals"]) == (
        "RandomSampler",
        256,
        0.5,
        False,
    )
    assert (rcnn["type"], rcnn["num"], rcnn["pos_fraction"], rcnn["add_gt_as_proposals"]) == (
        "RandomSampler",
        512,
        0.25,
        True,
    )
    assert model["rpn_head"]["type"] == "RPNHead"
    assert model["rpn_head"]["loss_bbox"]["type"] == "L1Loss"


def test_boxes_of_the_second_stage_follow_the_loss(make_recipe):
    boxes = {name: make_recipe(NAMED[name]).model["roi_head"]["bbox_head"] for name in ("ce_l1", "ce_giou")}
    assert (boxes["ce_l1"]["loss_bbox"], boxes["ce_l1"]["reg_decoded_bbox"]) == (
        {"type": "L1Loss", "loss_weight": 1.0},
        False,
    )
    assert (boxes["ce_giou"]["loss_bbox"], boxes["ce_giou"]["reg_decoded_bbox"]) == (
        {"type": "GIoULoss", "loss_weight": 10.0},
        True,
    )


def test_assigners_are_the_published_ones_and_leave_out_crowds(make_recipe):
    assigners = [make_recipe().model["train_cfg"][stage]["assigner"] for stage in ("rpn", "rcnn")]
    keys = ("pos_iou_thr", "neg_iou_thr", "min_pos_iou", "match_low_quality", "ignore_iof_thr")
    assert [[one[key] for key in keys] for one in assigners] == [
        [0.7, 0.3, 0.3, True, 0.5],
        [0.5, 0.5, 0.5, False, 0.5],
    ]


def test_r50_has_the_published_detector(make_recipe):
    model = make_recipe(profile="faster-rcnn-r50").model
    anchors = model["rpn_head"]["anchor_generator"]
    assert (anchors["scales"], anchors["strides"]) == ([8], [4, 8, 16, 32, 64])
    assert model["train_cfg"]["rpn_proposal"]["max_per_img"] == 1000
    assert model["test_cfg"]["rcnn"]["score_thr"] == 0.05
    assert model["test_cfg"]["rcnn"]["nms"]["iou_threshold"] == 0.5


def test_r50_has_the_published_schedules(make_recipe):
    r50 = {"profile": "faster-rcnn-r50", "overrides": Overrides()}
    proxy, final = (make_recipe(schedule=name, **r50).schedule for name in ("proxy", "final"))
    assert (proxy.epochs, proxy.batch_size, proxy.learning_rate, proxy.decay) == (1, 64, 0.024, "constant")
    assert (final.epochs, final.learning_rate, final.decay, final.milestones) == (100, 0.024, "steps", (0.75, 0.95))
    for name, rate in (("alrp", (0.012, 32)), ("ce_giou", (0.04, 64)), ("ce_l1", (0.04, 64))):
        schedule = make_recipe(NAMED[name], **r50).schedule
        assert (schedule.learning_rate, schedule.batch_size) == rate


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (FocalL1(), r"loss\.name: expected one of parameterized_ap.*cse_autoloss_a.*got 'focal_l1'"),
        (CSEAutoLossB(), r"loss\.name: expected one of .*got 'cse_autoloss_b'"),
        (PRESETS["retinanet"], r"loss\.heads: expected rpn_head, bbox_head .*got bbox_head"),
        (identity(["rpn_head"]), r"loss\.heads: expected rpn_head, bbox_head .*got rpn_head"),
    ],
    ids=["focal", "one-stage", "retinanet", "one head"],
)
def test_a_loss_that_does_not_fit_is_refused(make_recipe, loss, message):
    with pytest.raises(UserError, match=message):
        make_recipe(loss)


def test_images_without_objects_give_zero_in_both_heads_with_a_graph_to_every_weight(make_recipe):
    recipe = make_recipe()
    detector = build_detector(recipe.model, seed=0)
    losses = detector.loss(images(2), [sample([]), sample([])])
    minimised_loss(losses, recipe.heads).backward()
    assert all(value == 0 for value in losses.values())
    assert all(weights.grad is not None and not weights.grad.any() for weights in detector.parameters())
    measured = DivergenceWatch(detector, recipe.heads, 1000, {}).measure(losses)
    assert measured.tolist() == [[0, 0], [0, 0]]


def test_tests_give_boxes_of_every_class_by_score(make_recipe):
    detector = build_detector(make_recipe().model, seed=0).eval()
    with torch.no_grad():
        (found,) = detector.predict(images(1), [sample([])])
    predicted = found.pred_instances
    assert 0 < len(predicted) <= 100
    assert (predicted.scores >= 0.05).all()
    assert (predicted.scores.diff() <= 0).all()
    assert predicted.bboxes.min() >= 0
    assert predicted.bboxes.max() <= SIDE_PX
