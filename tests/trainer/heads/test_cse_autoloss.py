"""The formulas against plain numpy, entry by entry, and their modules."""

import math

import numpy as np
import pytest
import torch

from paploss.trainer.detectors import MODELS
from paploss.trainer.heads.cse_autoloss import (
    areas_of_pairs,
    classification_a,
    classification_b,
    detached_iou,
    regression_a,
    regression_b,
)

BOXES = torch.tensor([[0, 0, 10, 20], [5, 5, 9, 9], [30, 30, 31, 33], [0, 0, 40, 40]], dtype=torch.float64)
TARGETS = torch.tensor([[5, 5, 20, 25], [5, 5, 9, 9], [0, 0, 8, 8], [10, 10, 12, 14]], dtype=torch.float64)
LABELS = torch.tensor([2, 3, 0, 1])
IOU = torch.tensor([0.3, 1.0, 0.8, 1e-7], dtype=torch.float64)


def logits(columns: int) -> torch.Tensor:
    return 3 * torch.randn(4, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def areas(box, target):
    (x0, y0, x1, y1), (a0, b0, a1, b1) = box, target
    i = max(0, min(x1, a1) - max(x0, a0)) * max(0, min(y1, b1) - max(y0, b0))
    u = (x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - i
    return i, u + 1e-7, (max(x1, a1) - min(x0, a0)) * (max(y1, b1) - min(y0, b0)) + 1e-7


def test_a_weighs_the_cross_entropy_of_a_positive_by_its_iou():
    x = logits(4)
    rows = np.exp(x.numpy())
    expected = [
        -(1 + np.sin(float(w))) * np.log(row[label] / row.sum() + 1e-20)
        for row, label, w in zip(rows, LABELS.tolist(), IOU, strict=True)
    ]
    torch.testing.assert_close(classification_a(x, LABELS, IOU), torch.tensor(expected))


def test_b_weighs_each_entry():
    x = logits(3)
    expected = np.zeros((4, 3))
    for row in range(4):
        for column in range(3):
            y = float(LABELS[row] == column)
            q, s = y * float(IOU[row]), sigmoid(x[row, column])
            boost = (1 + math.erf(math.sqrt(math.pi) / 4 * sigmoid(1 - y))) / 2
            gd = 0.5 + 2 / math.pi * math.atan(math.tanh(math.pi * x[row, column] / 8))
            terms = q * (1 + boost) * math.log(s) + (gd - q) * (s - q) * math.log(1 - s)
            expected[row, column] = -(0.25 if y else 0.75) * terms
    torch.testing.assert_close(classification_b(x, LABELS, IOU), torch.from_numpy(expected))


def test_box_losses_are_functions_of_three_areas():
    expected_a, expected_b = [], []
    for box, target in zip(BOXES.tolist(), TARGETS.tolist(), strict=True):
        i, u, e = areas(box, target)
        expected_a.append((1 - i / u) + (1 - (i + 2) / e))
        # written as the search found it
        expected_b.append(-((1 + i - e) / (5 + u) + 1 + e) / (e - (u + i) / 3))
    found = areas_of_pairs(BOXES, TARGETS)
    torch.testing.assert_close(regression_a(found), torch.tensor(expected_a, dtype=torch.float64))
    torch.testing.assert_close(regression_b(found), torch.tensor(expected_b, dtype=torch.float64))


def test_iou_is_detached_and_above_0():
    boxes = BOXES.clone().requires_grad_()
    found = detached_iou(boxes, TARGETS)
    assert not found.requires_grad
    torch.testing.assert_close(found, torch.tensor([75 / 425, 1, 1e-7, 8 / 1600], dtype=torch.float64))


@pytest.mark.parametrize("variant", ["a", "b"])
def test_a_worse_box_costs_more_and_every_gradient_is_finite(variant):
    module = MODELS.build({"type": "CSEAutoLossBox", "variant": variant, "loss_weight": 2.0})
    target = torch.tensor([[10.0, 10.0, 50.0, 50.0]])
    losses = []
    for shift in (0.0, 5.0, 20.0, 200.0, 1e5):
        box = (target + shift).requires_grad_()
        losses.append(module(box, target, torch.ones(1, 4), avg_factor=2.0))
        losses[-1].backward()
        assert box.grad.isfinite().all()
    assert losses == sorted(losses)


@pytest.mark.parametrize("variant", ["a", "b"])
def test_boxes_without_a_weight_do_not_count(variant):
    module = MODELS.build({"type": "CSEAutoLossBox", "variant": variant})
    weights = torch.tensor([1.0, 0.0, 0.5, 0.0])
    boxes = BOXES.clone().requires_grad_()
    loss = module(boxes, TARGETS, weights[:, None].expand(4, 4), avg_factor=1.0)
    torch.testing.assert_close(loss, module(boxes[::2], TARGETS[::2], weights[::2], avg_factor=1.0))
    loss.backward()
    assert not boxes.grad[1::2].any()
    assert module(boxes, TARGETS, torch.zeros(4), avg_factor=1.0) == 0


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_class_losses_have_finite_gradients_at_sure_and_at_wrong_logits(scale):
    for name, columns, arguments in (("A", 4, {}), ("B", 3, {"avg_factor": 2.0})):
        module = MODELS.build({"type": f"CSEAutoLoss{name}Classification"})
        x = (scale * logits(columns)).requires_grad_()
        loss = module(x, (LABELS, IOU), torch.tensor([1.0, 0.0, 1.0, 1.0]), **arguments)
        loss.backward()
        assert loss.isfinite()
        assert x.grad.isfinite().all()
        assert not x.grad[1].any()


def test_a_averages_over_the_candidates_with_a_weight():
    x, weights = logits(4), torch.tensor([1.0, 0.0, 1.0, 0.0])
    module = MODELS.build({"type": "CSEAutoLossAClassification"})
    torch.testing.assert_close(module(x, (LABELS, IOU), weights), classification_a(x, LABELS, IOU)[::2].mean())
    assert module(x[:0], (LABELS[:0], IOU[:0]), weights[:0]) == 0
