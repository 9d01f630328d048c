"""Training steps whose losses are timed apart are the same training steps."""

import torch

from benchmarks.training_steps import Clock, timed_losses


def losses_of(scores, *, boxes, scale):
    return {
        "loss_cls": [(scale * score).square().sum() for score in scores],
        "boxes": {"loss": boxes.abs().mean(), "count": 3},
    }


def gradients(function):
    weight = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    unused = torch.ones(2, requires_grad=True)
    found = function([weight * 2, weight[:2] + 1, unused], boxes=weight.exp(), scale=torch.tensor(0.5))
    total = sum(found["loss_cls"]) + found["boxes"]["loss"]
    total.backward()
    return total.detach(), weight.grad, unused.grad, found["boxes"]["count"]


def test_losses_timed_apart_have_their_values_and_gradients():
    clock = Clock(torch.device("cpu"))
    for plain, timed in zip(gradients(losses_of), gradients(timed_losses(losses_of, clock)), strict=True):
        torch.testing.assert_close(timed, plain)
    assert clock.take() > 0


def test_a_clock_counts_each_part_once():
    ticks = iter([1.0, 1.5, 3.0, 3.25, 7.0, 8.0])
    clock = Clock(torch.device("cpu"), lambda: next(ticks))
    clock.keep(clock.mark())
    clock.keep(clock.mark())
    assert clock.take() == 750.0
    clock.keep(clock.mark())
    assert clock.take() == 1000.0
