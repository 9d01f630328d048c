"""Deformable DETR's head against a slow version: each layer matched and ranked by itself, in loops."""

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from paploss.trainer.detectors import build_detector
from tests.paploss.losses.oracle import pairwise_parameterized_ap_loss
from tests.trainer.heads.ranking_heads import HEADS, SIDE_PX, TRUTH
from tests.trainer.heads.slow_boxes import giou

DETR = HEADS["deformable-detr"]
LAYERS = 2


def corners(box):
    cx, cy, w, h = box
    return torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))


def cost(logits, box, label, truth):
    """Of a query for an object, as published: focal loss of its class, twice; L1, five times; GIoU, twice."""
    p = logits[label].sigmoid()
    focal = 0.25 * (1 - p) ** 2 * -p.log() - 0.75 * p**2 * -(1 - p).log()
    centre = torch.cat(((truth[:2] + truth[2:]) / 2, truth[2:] - truth[:2]))
    return 2 * focal + 5 * (box - centre).abs().sum() - 2 * giou(corners(box), truth)


def slow_loss(logits, boxes, control_points):
    """Of one layer's `[B, Q, C]` logits and `[B, Q, 4]` boxes."""
    targets, quality = torch.zeros(logits.shape), torch.zeros(logits.shape, dtype=torch.float64)
    for image, (truths, labels) in enumerate(TRUTH):
        found = torch.tensor(truths).double() / SIDE_PX
        costs = torch.tensor(
            [
                [cost(x, box, label, truth) for label, truth in zip(labels, found, strict=True)]
                for x, box in zip(logits[image].detach(), boxes[image].detach(), strict=True)
            ]
        )
        for query, number in zip(*linear_sum_assignment(costs), strict=True):
            targets[image, query, labels[number]] = 1
            fit = (giou(corners(boxes[image, query]), found[number]) + 1) / 2
            at = torch.zeros(logits.shape, dtype=torch.float64)
            at[image, query, labels[number]] = 1
            quality = quality + at * fit
    return pairwise_parameterized_ap_loss(logits.flatten(), quality.flatten(), targets.flatten(), control_points)


def test_each_layer_has_the_loss_of_its_own_matched_ranking():
    outputs = [one.detach().double().requires_grad_() for one in DETR.outputs(LAYERS)]
    losses = DETR.losses(DETR.built, outputs)
    assert list(losses) == ["loss_rank", "d0.loss_rank"]
    points = DETR.built.objective.control_points
    copies = [one.detach().requires_grad_() for one in outputs]
    expected = [slow_loss(copies[0][layer], copies[1][layer], points) for layer in (1, 0)]
    torch.testing.assert_close(torch.stack(list(losses.values())), torch.stack(expected), rtol=1e-5, atol=0)
    sum(losses.values()).backward()
    sum(expected).backward()
    torch.testing.assert_close(outputs[0].grad, copies[0].grad, rtol=1e-5, atol=1e-8)
    scale = DETR.built.objective.gradient_scale
    torch.testing.assert_close(outputs[1].grad, scale * copies[1].grad, rtol=1e-5, atol=1e-7)


def test_two_stages_are_refused():
    model = DETR.model()
    model["as_two_stage"] = True
    with pytest.raises(ValueError, match="as_two_stage: expected False"):
        build_detector(model, seed=0)


def test_a_loss_with_softmax_is_refused():
    model = DETR.model()
    model["bbox_head"]["loss_cls"] = {"type": "CrossEntropyLoss", "use_sigmoid": False}
    with pytest.raises(ValueError, match="loss_cls: expected a loss with use_sigmoid=True"):
        build_detector(model, seed=0)
