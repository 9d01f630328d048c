"""The detectors with a ResNet-50 beside the configurations that mmdet publishes for them."""

from pathlib import Path
from typing import Any

import mmdet
import pytest
from mmengine.config import Config

from paploss.jobs.losses import LOSSES
from paploss.jobs.spec import Overrides
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.profiles import recipe_of
from paploss.trainer.profiles.recipe import SLOW_RATE, Recipe

CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs"
OURS = {
    "CachedAnchorGenerator": "AnchorGenerator",
    "VectorisedMaxIoUAssigner": "MaxIoUAssigner",
    "CrowdATSSAssigner": "ATSSAssigner",
    "FiniteHungarianAssigner": "HungarianAssigner",
}
"""Types with mmdet's arguments and, crowds aside, results, and what they stand for."""


@pytest.fixture
def make_recipe(make_job, tmp_path):
    def make(profile: str, loss: str) -> Recipe:
        job = make_job(
            profile=profile, loss=LOSSES[loss](), schedule="final", weights="resnet50.pth", overrides=Overrides()
        )
        return recipe_of(job, read_job_data(job, tmp_path).train)

    return make


def differences(published: Any, own: Any, place: str = "") -> dict[str, tuple[Any, Any]]:
    """What is published and not equally there, by its place: the published value and the own one."""
    if isinstance(published, dict) and isinstance(own, dict):
        found = [differences(value, own.get(key), f"{place}.{key}") for key, value in published.items()]
    elif isinstance(published, list | tuple) and isinstance(own, list | tuple) and len(published) == len(own):
        found = [
            differences(*pair, f"{place}[{number}]") for number, pair in enumerate(zip(published, own, strict=True))
        ]
    else:
        found = [] if published == OURS.get(str(own), own) else [{place.removeprefix("."): (published, own)}]
    return {key: value for one in found for key, value in one.items()}


EVERYWHERE = {"backbone.init_cfg", "backbone.num_stages", "bbox_head.num_classes"}
"""The weights are a file of the job's, mmdet's ResNet has 4 stages, and the data has 3 classes.

Of what is left out in a profile, mmdet's defaults are what is published: the loss of the centerness, one stage. The
dropout of a decoder's attention has two other names there.
"""


@pytest.mark.parametrize(
    ("file", "profile", "loss", "expected"),
    [
        (
            "retinanet/retinanet_r50_fpn_1x_coco.py",
            "retinanet-r50",
            "focal_l1",
            {
                "bbox_head.anchor_generator.scales_per_octave": (3, 2),
                "train_cfg.assigner.ignore_iof_thr": (-1, 0.5),
                "test_cfg.nms.iou_threshold": (0.5, 0.6),
            },
        ),
        (
            "atss/atss_r50_fpn_1x_coco.py",
            "atss-r50",
            "focal_giou",
            {
                "bbox_head.loss_centerness": (
                    {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
                    None,
                ),
                "test_cfg.score_thr": (0.05, 0.01),
            },
        ),
        (
            "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
            "faster-rcnn-r50",
            "ce_l1",
            {
                "roi_head.bbox_head.num_classes": (80, 3),
                "train_cfg.rpn.assigner.ignore_iof_thr": (-1, 0.5),
                "train_cfg.rcnn.assigner.ignore_iof_thr": (-1, 0.5),
            },
        ),
        (
            "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
            "deformable-detr-r50",
            "focal_l1_giou",
            {"as_two_stage": (False, None), "decoder.layer_cfg.self_attn_cfg.dropout": (0.1, None)},
        ),
    ],
)
def test_a_detector_is_mmdets_but_for_what_is_said_here(make_recipe, file, profile, loss, expected):
    found = differences(Config.fromfile(CONFIGS / file).model.to_dict(), make_recipe(profile, loss).model)
    assert {place: values for place, values in found.items() if place not in EVERYWHERE} == expected


def test_a_deformable_detr_is_trained_and_tested_as_mmdet_trains_and_tests_it(make_recipe):
    published = Config.fromfile(CONFIGS / "deformable_detr" / "deformable-detr_r50_16xb2-50e_coco.py")
    recipe = make_recipe("deformable-detr-r50", "focal_l1_giou")
    schedule, optimizer = recipe.schedule, published.optim_wrapper.optimizer
    assert (schedule.learning_rate, schedule.weight_decay) == (optimizer.lr, optimizer.weight_decay)
    assert (schedule.optimizer, schedule.warmup_iterations, schedule.decay) == ("adamw", 0, "steps")
    assert schedule.batch_size == published.auto_scale_lr.base_batch_size
    assert schedule.clip_norm == published.optim_wrapper.clip_grad.max_norm
    assert schedule.epochs == published.max_epochs
    assert [part * schedule.epochs for part in schedule.milestones] == published.param_scheduler[0].milestones
    slow = published.optim_wrapper.paramwise_cfg.custom_keys.to_dict()
    assert {part: {"lr_mult": SLOW_RATE} for part in schedule.slow_parts} == slow
    own = [*recipe.load_pipeline, *recipe.augment_pipeline]
    assert differences([without_backend(one) for one in published.train_pipeline], own) == {}
    (resize,) = (one for one in recipe.test_pipeline if one["type"] == "Resize")
    (theirs,) = (one for one in published.test_pipeline if one.type == "Resize")
    assert differences(theirs.to_dict(), resize) == {}


def without_backend(transform: Any) -> dict[str, Any]:
    """A published transform without where files are read from."""
    return {key: value for key, value in transform.to_dict().items() if key != "backend_args"}
