"""The losses with IoU targets against versions in loops, written from their formulas."""

import math

import pytest
import torch

from paploss.trainer.heads.iou_target_losses import FORMULAS, IoUTargetLoss

CLASSES = 3
LABELS = torch.tensor([1, 3, 0, 3, 2])
IOU = torch.tensor([0.8, 0.0, 0.4, 0.0, 0.55], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)


def logits():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(LABELS), CLASSES, dtype=torch.float64, generator=generator).requires_grad_()


def bce(p, t):
    return -t * p.log() - (1 - t) * (1 - p).log()


def slow_entry(name, p, u):
    """Of one entry; u is none where it is not that of its query's object."""
    weight = p.item()
    if u is None:
        # Varifocal's weight is the one that has a gradient.
        return {
            "varifocal": 0.75 * p**2,
            "mal": weight**1.5,
            "iou_bce": weight**2,
            "position_supervised": weight**2,
        }[name] * bce(p, 0.0)
    if name == "varifocal":
        return u * bce(p, u)
    if name == "mal":
        return bce(p, u**1.5)
    if name == "iou_bce":
        return bce(p, weight**0.25 * u**0.75)
    target = u**2 / IOU.max().item()
    return abs(target - weight) ** 2 * bce(p, target)


@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_gradient_are_those_of_the_formula(name):
    given, copied = logits(), logits()
    loss = IoUTargetLoss(name, loss_weight=2.0)(given, (LABELS, IOU), WEIGHTS, avg_factor=3)
    expected = torch.zeros((), dtype=torch.float64)
    for row, label in enumerate(LABELS.tolist()):
        for column in range(CLASSES):
            u = IOU[row].item() if column == label else None
            expected = expected + WEIGHTS[row] * slow_entry(name, copied[row, column].sigmoid(), u)
    expected = 2 * expected / 3
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(given.grad, copied.grad)


@pytest.mark.parametrize("name", FORMULAS)
def test_without_an_object_every_score_is_pushed_down(name):
    given = logits()
    loss = IoUTargetLoss(name)(given, (torch.full_like(LABELS, CLASSES), 0 * IOU), torch.ones(5), avg_factor=1)
    loss.backward()
    assert math.isfinite(loss.item())
    assert (given.grad > 0).all()


def test_an_unknown_formula_is_named():
    with pytest.raises(ValueError, match=r"formula: expected one of varifocal, mal, .* got 'focal'"):
        IoUTargetLoss("focal")
