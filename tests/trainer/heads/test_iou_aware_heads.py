"""Losses that depend on the IoU in one-stage heads against the formulas, on targets that mmdet's own heads assign."""

from functools import cache

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from paploss.jobs.losses import CSEAutoLossB
from paploss.trainer.detectors import build_detector
from paploss.trainer.heads.cse_autoloss import areas_of_pairs, classification_b, detached_iou, regression_b
from paploss.trainer.profiles.atss import atss
from paploss.trainer.profiles.losses import IOU_TARGETS
from paploss.trainer.profiles.retinanet import TINY, retinanet
from tests.trainer.heads.slow_boxes import giou, iou
from tests.trainer.heads.test_iou_target_losses import slow_entry

CLASSES = 3
ANCHORS = torch.tensor([[0.0, 0, 16, 16], [8, 0, 24, 16], [0, 8, 16, 24], [8, 8, 24, 24]])
LABELS = torch.tensor([1, CLASSES, CLASSES, 0])
WEIGHTS = torch.tensor([1.0, 1, 0, 1])
TARGETS = torch.tensor([[2.0, 1, 18, 15], [0, 0, 0, 0], [0, 0, 0, 0], [6, 8, 20, 20]])
POSITIVES = [0, 3]


def level(channels: int, seed: int) -> torch.Tensor:
    return torch.randn(1, channels, 2, 2, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def flat(output: torch.Tensor) -> torch.Tensor:
    return output[0].flatten(1).T


@cache
def retina_head():
    """Shared by the tests, none of which changes it."""
    return build_detector(retinanet(TINY, CLASSES, CSEAutoLossB(), frozen_backbone=False), seed=0).bbox_head


@pytest.fixture
def outputs():
    return level(CLASSES, 0), level(4, 1), level(1, 2)


def expected_classification(head, scores, deltas):
    boxes = head.bbox_coder.decode(ANCHORS, flat(deltas))
    iou = detached_iou(boxes, TARGETS)
    return boxes, iou, (classification_b(flat(scores), LABELS, iou) * WEIGHTS[:, None]).sum()


def test_retinanet_averages_over_positives(outputs):
    head = retina_head()
    scores, deltas, _ = outputs
    box_weights = torch.zeros(1, 4, 4)
    box_weights[0, POSITIVES] = 1
    targets = (LABELS[None], WEIGHTS[None], TARGETS[None], box_weights, 2.0)
    found = head.loss_by_feat_single(scores, deltas, ANCHORS[None], *targets)
    boxes, _, classification = expected_classification(head, scores, deltas)
    box = regression_b(areas_of_pairs(boxes[POSITIVES], TARGETS[POSITIVES])).mean()
    torch.testing.assert_close(found, (classification / 2, box))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_losses_are_those_of_the_same_outputs_in_single_precision(outputs, dtype):
    head = retina_head()
    large = 1000 * torch.ones(1, 4, 4)  # px^4 are beyond float16
    targets = (LABELS[None], WEIGHTS[None], TARGETS[None] + large, torch.ones(1, 4, 4), 2.0)
    halves = [output.detach().to(dtype) for output in outputs[:2]]
    with torch.autocast("cpu", dtype):
        found = head.loss_by_feat_single(*halves, ANCHORS[None] + large, *targets)
    expected = head.loss_by_feat_single(*(half.float() for half in halves), ANCHORS[None] + large, *targets)
    assert all(loss.isfinite() for loss in found)
    assert found == expected


def test_atss_weighs_boxes_by_their_iou_and_learns_it(outputs):
    model = atss(TINY, CLASSES, CSEAutoLossB(), frozen_backbone=False, normalised_groups=8)
    head = build_detector(model, seed=0).bbox_head
    scores, deltas, fits = outputs
    targets = (LABELS[None], WEIGHTS[None], TARGETS[None], 2.0)
    found = head.loss_by_feat_single(ANCHORS[None], scores, deltas, fits, *targets)
    boxes, iou, classification = expected_classification(head, scores, deltas)
    iou = iou[POSITIVES]
    box = (regression_b(areas_of_pairs(boxes[POSITIVES], TARGETS[POSITIVES])) * iou).sum()
    fit = binary_cross_entropy_with_logits(flat(fits)[POSITIVES, 0], iou, reduction="sum") / 2
    torch.testing.assert_close(found, (classification / 2, box, fit, iou.sum()))
    sum(found).backward()
    assert all(output.grad.isfinite().all() and output.grad.any() for output in outputs)


def slow_joint_losses(name, scores, boxes, weigh):
    """Of classes, by 2 positives; of boxes, with the weight that `weigh` gives an IoU; and the sum of these weights."""
    classification, box, weights = torch.zeros(()), torch.zeros(()), []
    for row, label in enumerate(LABELS.tolist()):
        fit = iou(boxes[row], TARGETS[row]).detach().clamp_min(1e-7) if label < CLASSES else None
        for column in range(CLASSES):
            entry = slow_entry(name, flat(scores)[row, column].sigmoid(), fit if column == label else None)
            classification = classification + WEIGHTS[row] * entry / 2
        if fit is not None:
            weights.append(weigh(fit))
            box = box + weights[-1] * 2 * (1 - giou(boxes[row], TARGETS[row]))
    return classification, box, sum(weights)


@pytest.mark.parametrize("record", IOU_TARGETS)
def test_retinanet_with_the_iou_as_target_has_the_losses_of_the_formulas(outputs, record):
    head = build_detector(retinanet(TINY, CLASSES, record(), frozen_backbone=False), seed=0).bbox_head
    scores, deltas, _ = outputs
    box_weights = torch.zeros(1, 4, 4)
    box_weights[0, POSITIVES] = 1
    targets = (LABELS[None], WEIGHTS[None], TARGETS[None], box_weights, 2.0)
    found = head.loss_by_feat_single(scores, deltas, ANCHORS[None], *targets)
    boxes = head.bbox_coder.decode(ANCHORS, flat(deltas))
    classification, box, _ = slow_joint_losses(record().name, scores, boxes, weigh=lambda _: 0.5)
    torch.testing.assert_close(found, (classification, box))


@pytest.mark.parametrize("record", IOU_TARGETS)
def test_atss_with_the_iou_as_target_weighs_boxes_by_it_and_has_no_centerness(outputs, record):
    model = atss(TINY, CLASSES, record(), frozen_backbone=False, normalised_groups=8)
    head = build_detector(model, seed=0).bbox_head
    assert not hasattr(head, "atss_centerness")
    scores, deltas, _ = outputs
    found = head.loss_by_feat_single(
        ANCHORS[None], scores, deltas, None, LABELS[None], WEIGHTS[None], TARGETS[None], 2.0
    )
    boxes = head.bbox_coder.decode(ANCHORS, flat(deltas))
    classification, box, weight = slow_joint_losses(record().name, scores, boxes, weigh=lambda fit: fit)
    torch.testing.assert_close(found, (classification, box, torch.zeros(()), weight))
