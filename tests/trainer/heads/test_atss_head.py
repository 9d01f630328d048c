"""The ATSS head on targets that mmdet's own head assigns."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from paploss.trainer.profiles.retinanet_tiny import SIZE

from paploss.jobs.losses import LossSpec
from paploss.jobs.presets import PRESETS
from paploss.trainer.detectors import build_detector
from paploss.trainer.heads.objective import LOSS_PARTS
from paploss.trainer.profiles.atss import atss

CLASSES, SIDE_PX = 3, 64
METAS = [{"img_shape": (SIDE_PX, SIDE_PX), "pad_shape": (SIDE_PX, SIDE_PX), "scale_factor": (1.0, 1.0)}] * 2
LOSSES = {"parameterized_ap": PRESETS["retinanet"]} | {
    name: LossSpec(name=name, form="linear" if name == "handmade_ap" else None)
    for name in LOSS_PARTS
    if name != "parameterized_ap"
}


def build_head(loss: LossSpec):
    return build_detector(atss(SIZE, CLASSES, loss, frozen_backbone=False, normalised_groups=8), seed=0).bbox_head


def outputs() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    sides = [SIDE_PX // stride for stride in SIZE.strides]
    scores = [torch.randn(2, CLASSES, side, side, generator=generator).requires_grad_() for side in sides]
    deltas = [torch.randn(2, 4, side, side, generator=generator).requires_grad_() for side in sides]
    return scores, deltas


def objects(*boxes_and_labels) -> list[InstanceData]:
    return [
        InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels).long())
        for boxes, labels in boxes_and_labels
    ]


TRUTH = ([[4, 4, 36, 40], [30, 30, 60, 62]], [1, 2]), ([[10, 0, 42, 30]], [0])


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_that_of_the_objective_on_atss_targets(name):
    head = build_head(LOSSES[name])
    scores, deltas = outputs()
    found = head.loss_by_feat(scores, deltas, objects(*TRUTH), METAS)
    assert tuple(found) == LOSS_PARTS[name]

    levels = [score.shape[-2:] for score in scores]
    anchors, flags = head.get_anchors(levels, METAS, device="cpu")
    _, labels, weights, targets, _, _ = super(type(head), head).get_targets(anchors, flags, objects(*TRUTH), METAS)
    rows = [
        (level, image, place)
        for image in range(2)
        for level, (height, width) in enumerate(levels)
        for place in range(height * width)
    ]

    def of_rows(per_level):
        flat = [one.permute(0, 2, 3, 1).flatten(1, 2) if one.ndim == 4 else one for one in per_level]
        return torch.stack([flat[level][image, place] for level, image, place in rows])

    expected = head.objective(
        of_rows(scores),
        of_rows(labels),
        of_rows(weights),
        of_rows(deltas),
        of_rows(targets),
    )
    assert (of_rows(labels) < CLASSES).sum() > 3
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_an_object_gives_zero_with_a_graph_to_every_output(name):
    head = build_head(LOSSES[name])
    scores, deltas = outputs()
    losses = head.loss_by_feat(scores, deltas, objects(([], []), ([], [])), METAS)
    assert {part: loss.item() for part, loss in losses.items()} == dict.fromkeys(LOSS_PARTS[name], 0)
    sum(losses.values()).backward()
    assert all(output.grad is not None and not output.grad.any() for output in scores + deltas)


def test_places_inside_a_crowd_are_left_out():
    head = build_head(LOSSES["parameterized_ap"])
    scores, deltas = outputs()
    crowd = [InstanceData(bboxes=torch.tensor([[0.0, 0.0, SIDE_PX, SIDE_PX]])), InstanceData(bboxes=torch.zeros(0, 4))]
    truth = objects(([[0, 0, 12, 12]], [0]), TRUTH[1])
    sum(head.loss_by_feat(scores, deltas, truth, METAS, crowd).values()).backward()
    # Ordinary negatives of an image would feel the positives of the other one; those inside the crowd do not.
    assert not scores[0].grad[0, :, 5:7, 5:7].any()
    assert scores[0].grad[1].any()


def test_detections_are_sorted_by_the_score_that_was_ranked():
    head = build_head(LOSSES["parameterized_ap"]).eval()
    assert not any("centerness" in name for name, _ in head.named_parameters())
    scores, deltas = outputs()
    with torch.no_grad():
        scores[0][0, 2, 3, 4] = 9.0
        test = ConfigDict(score_thr=0.05, nms_pre=10, nms={"type": "nms", "iou_threshold": 0.6}, max_per_img=5)
        (found, _) = head.predict_by_feat(scores, deltas, batch_img_metas=METAS, cfg=test)
    assert found.scores[0] == torch.tensor(9.0).sigmoid()
    assert found.labels[0] == 2
