from pathlib import Path

import numpy as np
import pytest
import torch

from paploss.losses import APLoss, ap_loss
from tests.paploss.losses.oracle import relative_errors

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "losses.npz")


@pytest.mark.parametrize("case", range(7))
def test_agrees_with_the_released_program(case: int, device: torch.device) -> None:
    logits, targets, loss, gradient = (
        torch.from_numpy(np.array(GOLDEN[key])).to(device)
        for key in (f"pap{case}_logits", f"pap{case}_targets", f"ap{case}_loss", f"ap{case}_grad_logits")
    )
    logits.requires_grad_()
    value = ap_loss(logits, targets)
    value.backward()
    assert logits.grad is not None
    assert max(relative_errors([value.detach(), logits.grad], [loss, gradient])) < 1e-9


def test_hand_computed_with_a_precision_that_is_interpolated() -> None:
    # Precisions 2/4 at the lower positive and 1/2.5, raised to 2/4, at the upper one.
    logits = torch.tensor([0.0, 10.0, 10.0, 20.0], requires_grad=True)
    loss = ap_loss(logits, torch.tensor([1, 1, 0, 0]))
    loss.backward()
    assert loss.item() == 0.5
    torch.testing.assert_close(logits.grad, torch.tensor([-0.25, -0.25, 5 / 24, 7 / 24]))


def test_perfect_ranking_costs_nothing() -> None:
    logits = torch.tensor([3.0, 2.0, 0.0, -5.0], requires_grad=True)
    loss = ap_loss(logits, torch.tensor([1, 1, 0, 0]))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_gradient_scales_with_what_follows() -> None:
    logits, targets = torch.linspace(-1, 1, 20, requires_grad=True), torch.arange(20) % 2
    (plain,) = torch.autograd.grad(ap_loss(logits, targets), logits)
    (scaled,) = torch.autograd.grad(3 * ap_loss(logits, targets), logits)
    torch.testing.assert_close(scaled, 3 * plain)


def test_the_module_computes_the_function() -> None:
    logits, targets = torch.linspace(-1, 1, 20), torch.arange(20) % 2
    module = APLoss(delta=0.25)
    assert module(logits, targets) == ap_loss(logits, targets, 0.25)
    assert APLoss()(logits, targets) == ap_loss(logits, targets)
    assert repr(module) == "APLoss(delta=0.25)"
