"""The assigner against mmdet's own, on boxes of few sizes and places, so that many overlaps are equal."""

import pytest
import torch
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmengine.structures import InstanceData

from paploss.trainer.heads.assigner import VectorisedMaxIoUAssigner

OPTIONS = {
    "retinanet": {"pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "min_pos_iou": 0},
    "rpn": {"pos_iou_thr": 0.7, "neg_iou_thr": 0.3, "min_pos_iou": 0.3},
    "second stage": {"pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0.5, "match_low_quality": False},
    "one candidate for each": {"pos_iou_thr": 0.9, "neg_iou_thr": (0.1, 0.3), "gt_max_assign_all": False},
}


def boxes(generator: torch.Generator, count: int) -> torch.Tensor:
    corners = torch.randint(6, (count, 2), generator=generator).float()
    return torch.cat((corners, corners + torch.randint(1, 4, (count, 2), generator=generator)), dim=1)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("objects", [0, 1, 30])
@pytest.mark.parametrize("candidates", [0, 300])
@pytest.mark.parametrize("crowds", [0, 2])
def test_results_are_mmdets(options, objects, candidates, crowds):
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(3, (objects,), generator=generator)
        truth = InstanceData(bboxes=boxes(generator, objects), labels=labels)
        ignored = InstanceData(bboxes=boxes(generator, crowds))
        anchors = InstanceData(priors=boxes(generator, candidates))
        ours, theirs = (
            kind(ignore_iof_thr=0.5, **options).assign(anchors, truth, ignored)
            for kind in (VectorisedMaxIoUAssigner, MaxIoUAssigner)
        )
        for name in ("gt_inds", "max_overlaps", "labels"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        assert ours.num_gts == theirs.num_gts


def test_an_object_that_nothing_overlaps_takes_every_candidate_only_where_mmdet_lets_it():
    truth = InstanceData(bboxes=torch.tensor([[90.0, 90, 99, 99]]), labels=torch.tensor([2]))
    anchors = InstanceData(priors=boxes(torch.Generator(), 5))
    taken = [
        VectorisedMaxIoUAssigner(**OPTIONS[name]).assign(anchors, truth).labels.tolist()
        for name in ("retinanet", "rpn")
    ]
    assert taken == [[2] * 5, [-1] * 5]
