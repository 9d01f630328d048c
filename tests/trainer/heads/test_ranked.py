"""What an objective is given, by hand, for boxes that are centres and sizes: there is no anchor and no coder."""

import pytest
import torch

from paploss.trainer.heads.objective import OBJECTIVES, RankingObjective
from paploss.trainer.heads.ranked import rank

LOGITS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [-1.0, -2.0]])
LABELS = torch.tensor([1, 2, 0, 0])
WEIGHTS = torch.tensor([1.0, 1.0, 0.0, 1.0])
BOXES = torch.tensor([[1.0, 1, 2, 2], [5, 5, 1, 1], [7, 7, 1, 1], [4, 4, 2, 2]])
TARGETS = torch.tensor([[2.0, 1, 2, 2], [0, 0, 0, 0], [0, 0, 0, 0], [4, 4, 2, 2]])


def corners(boxes: torch.Tensor) -> torch.Tensor:
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat((centres - halves, centres + halves), dim=1)


def ranked(boxes: torch.Tensor = BOXES, gradient_scale: float = 1.0):
    return rank(LOGITS, LABELS, WEIGHTS, boxes, TARGETS, corners=corners, quality="giou", gradient_scale=gradient_scale)


def test_entries_and_positives_by_hand():
    found = ranked()
    assert found.logits.tolist() == [1, 2, 3, 4, 5, 6, -1, -2]
    assert found.targets.tolist() == [0, 1, 0, 0, -1, -1, 1, 0]
    assert found.targets.dtype == torch.int8
    torch.testing.assert_close(found.quality, torch.tensor([2 / 3, 1.0]))  # intersection 2, union 6, hull 6
    torch.testing.assert_close(found.giou, torch.tensor([1 / 3, 1.0]))
    torch.testing.assert_close(found.iou, torch.tensor([1 / 3, 1.0]))
    assert found.errors.tolist() == [[-1, 0, 0, 0], [0, 0, 0, 0]]
    assert found.output_sum == LOGITS.sum() + BOXES.sum()


def test_the_gradient_flows_through_quality_and_errors_scaled_and_not_through_iou():
    gradients = []
    for scale in (1.0, 3.0):
        boxes = BOXES.clone().requires_grad_()
        found = ranked(boxes, scale)
        assert not found.iou.requires_grad
        gradients.append(torch.autograd.grad(found.quality.sum() + found.errors.square().sum(), boxes)[0])
    assert gradients[0][0].any()
    assert not gradients[0][1:3].any()
    torch.testing.assert_close(gradients[1], 3 * gradients[0])


@pytest.mark.parametrize("name", [name for name, one in OBJECTIVES.items() if one.needs is None])
def test_every_objective_takes_them(name):
    boxes = BOXES.clone().requires_grad_()
    losses = RankingObjective(name)(ranked(boxes))
    assert tuple(losses) == OBJECTIVES[name].loss.parts
    sum(losses.values()).backward()
    assert boxes.grad[0].any()
