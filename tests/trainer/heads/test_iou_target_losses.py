"""The losses with IoU targets against versions in loops, written from their formulas."""

import math

import pytest
import torch

from paploss.trainer.heads.iou_target_losses import FORMULAS, IoUTargetLoss

CLASSES = 3
LABELS = torch.tensor([1, 3, 0, 3, 2, 3, 1, 0])
IOU = torch.tensor([0.8, 0.0, 0.4, 0.0, 0.55, 0.0, 0.0, 0.0004], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
IMAGE_CANDIDATES = 4


def logits():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(LABELS), CLASSES, dtype=torch.float64, generator=generator).requires_grad_()


def bce(p, t):
    return -t * p.log() - (1 - t) * (1 - p).log()


def slow_entry(name, p, u, best_square=1.0):
    """Of one entry; u is none where it is not that of its candidate's object. best_square: largest u^2 of its image."""
    known = p.item()  # has no gradient
    if u is None:
        others = {"qfl_giou": p**2, "varifocal": 0.75 * p**2, "mal": known**1.5, "iou_bce": p**2}
        return others.get(name, 0.75 * p**2) * bce(p, 0.0)
    if name == "qfl_giou":
        return (u - p).abs() ** 2 * bce(p, u)
    if name == "varifocal":
        return u * bce(p, u) if u > 0 else 0.75 * p**2 * bce(p, 0.0)
    if name == "mal":
        return bce(p, u**1.5)
    if name == "iou_bce":
        return bce(p, max(known**0.25 * u**0.75, 0.01))
    target = u**2 / (best_square + 1e-8)
    return 0.25 * (target - p) ** 2 * bce(p, target)


@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_gradient_are_those_of_the_formula(name):
    given, copied = logits(), logits()
    module = IoUTargetLoss(name, use_sigmoid=True, image_candidates=IMAGE_CANDIDATES, loss_weight=2.0)
    loss = module(given, (LABELS, IOU), WEIGHTS, avg_factor=3)
    expected = torch.zeros((), dtype=torch.float64)
    for row, label in enumerate(LABELS.tolist()):
        for column in range(CLASSES):
            u = IOU[row].item() if column == label else None
            first = row - row % IMAGE_CANDIDATES
            best_square = max(iou**2 for iou in IOU[first : first + IMAGE_CANDIDATES].tolist())
            expected = expected + WEIGHTS[row] * slow_entry(name, copied[row, column].sigmoid(), u, best_square)
    expected = 2 * expected / 3
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(given.grad, copied.grad)


@pytest.mark.parametrize("name", FORMULAS)
def test_without_an_object_every_score_is_pushed_down(name):
    given = logits()
    loss = IoUTargetLoss(name, use_sigmoid=True)(
        given, (torch.full_like(LABELS, CLASSES), 0 * IOU), torch.ones(len(LABELS)), avg_factor=1
    )
    loss.backward()
    assert math.isfinite(loss.item())
    assert (given.grad > 0).all()


def test_an_image_does_not_change_what_another_is_taught():
    module = IoUTargetLoss("position_supervised", use_sigmoid=True, image_candidates=IMAGE_CANDIDATES)
    gradients = []
    for best in (0.8, 0.1):
        given, iou = logits(), IOU.clone()
        iou[0] = best
        module(given, (LABELS, iou), WEIGHTS, avg_factor=1).backward()
        gradients.append(given.grad)
    assert not torch.equal(gradients[0][:IMAGE_CANDIDATES], gradients[1][:IMAGE_CANDIDATES])
    assert torch.equal(gradients[0][IMAGE_CANDIDATES:], gradients[1][IMAGE_CANDIDATES:])


def test_an_unknown_formula_is_named():
    with pytest.raises(ValueError, match=r"formula: expected one of varifocal, mal, .* got 'focal'"):
        IoUTargetLoss("focal", use_sigmoid=True)
