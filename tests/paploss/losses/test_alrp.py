from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from paploss.losses import ALRPLoss, alrp_loss
from tests.paploss.losses.oracle import relative_errors

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "losses.npz")

# Ranks 4 and 2.5, the lower positive first.
LOGITS, TARGETS, ERRORS = torch.tensor([0.0, 10.0, 10.0, 20.0]), torch.tensor([1, 1, 0, 0]), torch.tensor([0.2, 0.4])


@pytest.mark.parametrize("case", range(7))
def test_agrees_with_the_released_program(case: int, device: torch.device) -> None:
    def golden(key: str) -> Tensor:
        return torch.from_numpy(np.array(GOLDEN[key])).to(device)

    logits = golden(f"pap{case}_logits").requires_grad_()
    parts = alrp_loss(logits, golden(f"pap{case}_targets"), golden(f"alrp{case}_reg_error"))
    parts.classification.backward()
    assert logits.grad is not None
    results = [parts.classification.detach(), parts.regression, parts.rank, logits.grad]
    expected = [golden(f"alrp{case}_{name}") for name in ("cls_loss", "box_loss", "rank", "grad_logits")]
    assert max(relative_errors(results, expected)) < 1e-9
    assert torch.equal(parts.order, golden(f"alrp{case}_order"))


def test_hand_computed() -> None:
    logits, errors = LOGITS.clone().requires_grad_(), ERRORS.clone().requires_grad_()
    parts = alrp_loss(logits, TARGETS, errors)
    torch.testing.assert_close(parts.classification.detach(), torch.tensor(0.55))
    torch.testing.assert_close(parts.regression.detach(), torch.tensor(0.155))
    torch.testing.assert_close(parts.rank, torch.tensor([4.0, 2.5]))
    assert parts.order.tolist() == [0, 1]
    parts.classification.backward()
    assert errors.grad is None
    torch.testing.assert_close(logits.grad, torch.tensor([-0.3, -0.3, 0.25, 0.35]))
    logits.grad = None
    parts.regression.backward()
    assert logits.grad is None
    torch.testing.assert_close(errors.grad, torch.tensor([0.125, 0.325]))


@pytest.mark.parametrize("requires_grad", [True, False])
def test_rank_and_order_carry_no_gradient(requires_grad: bool) -> None:
    parts = alrp_loss(LOGITS.clone().requires_grad_(requires_grad), TARGETS, ERRORS.clone().requires_grad_())
    assert not parts.rank.requires_grad
    assert parts.classification.requires_grad == requires_grad
    assert parts.regression.requires_grad


def test_too_few_false_positives_move_nothing() -> None:
    logits = torch.tensor([0.0, -1 + 1e-5], dtype=torch.float64, requires_grad=True)  # H = 5e-6
    parts = alrp_loss(logits, torch.tensor([1, 0]), torch.tensor([0.5]))
    parts.classification.backward()
    assert parts.classification > 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (torch.zeros(3), r"regression_error: expected shape \[2\], one for each positive, received \[3\]"),
        (torch.zeros(4, 1), r"regression_error: expected shape \[2\]"),
        (torch.tensor([0.0, -0.1]), "regression_error: expected finite numbers, not negative, received -0.1"),
        (torch.tensor([0.0, torch.nan]), "regression_error: expected finite numbers, not negative, received nan"),
    ],
)
def test_bad_regression_errors_are_named(errors: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        alrp_loss(LOGITS, TARGETS, errors)


class TestModule:
    def test_weights_the_box_part_by_50_at_first(self) -> None:
        classification, regression = ALRPLoss()(LOGITS, TARGETS, ERRORS)
        torch.testing.assert_close(classification, torch.tensor(0.55))
        torch.testing.assert_close(regression, torch.tensor(50 * 0.155))

    def test_balances_by_the_means_of_the_epoch_and_then_forgets_them(self) -> None:
        module = ALRPLoss()
        module(LOGITS, TARGETS, ERRORS)
        module(LOGITS, TARGETS, 2 * ERRORS)
        module.end_epoch()
        assert module.box_weight.item() == pytest.approx((0.55 + 0.2325) / 0.2325)
        module(LOGITS, TARGETS, ERRORS)
        module.end_epoch()
        assert module.box_weight.item() == pytest.approx((0.55 + 0.155) / 0.155)

    def test_remembers_every_digit_of_its_losses(self) -> None:
        module = ALRPLoss(box_weight=1.0)
        losses = module(LOGITS.double(), TARGETS, ERRORS.double() / 3)
        assert module.epoch_sums.tolist() == [loss.item() for loss in losses]

    def test_keeps_its_weight_where_no_box_was_seen(self) -> None:
        module = ALRPLoss(box_weight=7.0)
        module.end_epoch()
        module(LOGITS, torch.zeros(4), torch.zeros(0))
        module.end_epoch()
        assert module.box_weight == 7

    def test_does_not_learn_its_weight_from_evaluation(self) -> None:
        module = ALRPLoss(box_weight=7.0).eval()
        module(LOGITS, TARGETS, ERRORS)
        module.end_epoch()
        assert module.box_weight == 7

    def test_goes_on_in_the_middle_of_an_epoch_from_its_state(self) -> None:
        module, resumed = ALRPLoss(), ALRPLoss()
        module(LOGITS, TARGETS, ERRORS)
        resumed.load_state_dict(module.state_dict())
        for each in (module, resumed):
            each(LOGITS, TARGETS, 2 * ERRORS)
            each.end_epoch()
        assert resumed.box_weight == module.box_weight
        assert list(module.state_dict()) == ["box_weight", "epoch_sums"]

    def test_gradients_reach_logits_and_weighted_regression_errors(self) -> None:
        logits, errors = LOGITS.clone().requires_grad_(), ERRORS.clone().requires_grad_()
        sum(ALRPLoss(box_weight=2.0)(logits, TARGETS, errors)).backward()
        torch.testing.assert_close(logits.grad, torch.tensor([-0.3, -0.3, 0.25, 0.35]))
        torch.testing.assert_close(errors.grad, torch.tensor([0.25, 0.65]))
