"""The assigners against mmdet's own, on boxes of few sizes and places, so that many overlaps are equal."""

import pytest
import torch
from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from paploss.trainer.heads.assigner import CrowdATSSAssigner, VectorisedMaxIoUAssigner

OPTIONS = {
    "retinanet": {"pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "min_pos_iou": 0},
    "rpn": {"pos_iou_thr": 0.7, "neg_iou_thr": 0.3, "min_pos_iou": 0.3},
    "second stage": {"pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0.5, "match_low_quality": False},
    "one candidate for each": {"pos_iou_thr": 0.9, "neg_iou_thr": (0.1, 0.3), "gt_max_assign_all": False},
}


def boxes(generator: torch.Generator, count: int) -> torch.Tensor:
    corners = torch.randint(6, (count, 2), generator=generator).float()
    return torch.cat((corners, corners + torch.randint(1, 4, (count, 2), generator=generator)), dim=1)


def scene(seed: int, objects: int, candidates: int, crowds: int) -> tuple[InstanceData, InstanceData, InstanceData]:
    """Candidates, objects and crowds."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (objects,), generator=generator)
    truth = InstanceData(bboxes=boxes(generator, objects), labels=labels)
    ignored = InstanceData(bboxes=boxes(generator, crowds))
    return InstanceData(priors=boxes(generator, candidates)), truth, ignored


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("objects", [0, 1, 30])
@pytest.mark.parametrize("candidates", [0, 300])
def test_results_are_mmdets(options, objects, candidates):
    for seed in range(10):
        anchors, truth, ignored = scene(seed, objects, candidates, crowds=0)
        ours, theirs = (
            kind(ignore_iof_thr=0.5, **options).assign(anchors, truth, ignored)
            for kind in (VectorisedMaxIoUAssigner, MaxIoUAssigner)
        )
        for name in ("gt_inds", "max_overlaps", "labels"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        assert ours.num_gts == theirs.num_gts


LEVELS = [200, 90, 10]
ASSIGNERS = {
    **{name: (VectorisedMaxIoUAssigner, MaxIoUAssigner, options, ()) for name, options in OPTIONS.items()},
    "atss": (CrowdATSSAssigner, ATSSAssigner, {"topk": 9}, (LEVELS,)),
}


@pytest.mark.parametrize(("kind", "mmdets", "options", "levels"), ASSIGNERS.values(), ids=ASSIGNERS)
@pytest.mark.parametrize("objects", [0, 1, 30])
def test_of_the_candidates_in_crowds_only_those_of_no_object_are_left_out(kind, mmdets, options, levels, objects):
    kept = 0
    for seed in range(10):
        anchors, truth, crowds = scene(seed, objects, sum(LEVELS), crowds=2)
        ours = kind(ignore_iof_thr=0.5, **options).assign(anchors, *levels, truth, crowds)
        theirs = mmdets(**options).assign(anchors, *levels, truth)
        is_inside = (bbox_overlaps(anchors.priors, crowds.bboxes, mode="iof") > 0.5).any(dim=1)
        expected = torch.where(is_inside & (theirs.gt_inds == 0), -1, theirs.gt_inds)
        assert ours.gt_inds.tolist() == expected.tolist()
        assert (ours.gt_inds == -1).any()
        assert ours.labels.tolist() == theirs.labels.tolist()
        kept += int((is_inside & (ours.gt_inds > 0)).sum())
    assert kept or objects < 30


@pytest.mark.parametrize(("kind", "_", "options", "levels"), ASSIGNERS.values(), ids=ASSIGNERS)
def test_crowds_are_background_unless_asked(kind, _, options, levels):
    anchors, truth, crowds = scene(0, 1, sum(LEVELS), crowds=2)
    found, without = (kind(**options).assign(anchors, *levels, truth, *crowd) for crowd in ((crowds,), ()))
    assert found.gt_inds.tolist() == without.gt_inds.tolist()


def test_an_object_that_nothing_overlaps_takes_every_candidate_only_where_mmdet_lets_it():
    truth = InstanceData(bboxes=torch.tensor([[90.0, 90, 99, 99]]), labels=torch.tensor([2]))
    anchors = InstanceData(priors=boxes(torch.Generator(), 5))
    taken = [
        VectorisedMaxIoUAssigner(**OPTIONS[name]).assign(anchors, truth).labels.tolist()
        for name in ("retinanet", "rpn")
    ]
    assert taken == [[2] * 5, [-1] * 5]
