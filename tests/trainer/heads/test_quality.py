import math

import pytest
import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.structures.bbox import bbox_overlaps

from paploss.trainer.heads.quality import DeltaCorners, box_quality, decode_unit

STDS = torch.tensor([0.1, 0.1, 0.2, 0.2])


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator)
    return torch.cat((corner, corner + 0.05 + torch.rand(count, 2, generator=generator)), dim=1)


@pytest.mark.parametrize(("measure", "mode"), [("iou", "iou"), ("giou", "giou")])
def test_agrees_with_mmdet(measure, mode):
    boxes, targets = random_boxes(200, 0), random_boxes(200, 1)
    expected = bbox_overlaps(boxes, targets, mode=mode, is_aligned=True, eps=1e-7)
    expected = (expected + 1) / 2 if measure == "giou" else expected
    torch.testing.assert_close(box_quality(boxes, targets, measure), expected)


def test_values_by_hand():
    box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    shifted = torch.tensor([[1.0, 0.0, 3.0, 2.0]])  # intersection 2, union 6, hull 6
    apart = torch.tensor([[4.0, 0.0, 6.0, 2.0]])  # union 8, hull 12
    near = torch.tensor([[0.1, 0.0, 2.2, 2.0]])
    assert box_quality(box, shifted, "iou").item() == pytest.approx(1 / 3)
    assert box_quality(box, shifted, "giou").item() == pytest.approx(2 / 3)
    assert box_quality(box, apart, "giou").item() == pytest.approx((1 - 4 / 12) / 2)
    assert box_quality(box, near, "l1").item() == pytest.approx(0.7)
    assert box_quality(box, apart, "l1").item() == 0
    for measure in ("giou", "iou", "l1"):
        assert box_quality(box, box, measure).item() == pytest.approx(1)


def test_iou_does_not_depend_on_the_anchor():
    generator = torch.Generator().manual_seed(2)
    deltas, targets = (torch.randn(50, 4, generator=generator) for _ in range(2))
    anchors = random_boxes(50, 3) * 300
    coder = DeltaXYWHBBoxCoder(target_stds=STDS.tolist())
    on_anchors = bbox_overlaps(coder.decode(anchors, deltas), coder.decode(anchors, targets), "giou", is_aligned=True)
    on_unit = box_quality(decode_unit(deltas * STDS), decode_unit(targets * STDS), "giou")
    torch.testing.assert_close(on_unit, (on_anchors + 1) / 2, atol=1e-5, rtol=1e-5)


def test_size_is_bounded_at_62_5_anchors_and_its_gradient_cut():
    deltas = torch.tensor([[0.0, 0.0, 10.0, -10.0]], requires_grad=True)
    corners = decode_unit(deltas)
    torch.testing.assert_close(corners.detach(), torch.tensor([[-31.25, -0.5 / 62.5, 31.25, 0.5 / 62.5]]))
    corners.abs().sum().backward()
    assert deltas.grad[0, 2:].tolist() == [0, 0]
    assert math.log(62.5) == pytest.approx(4.135, abs=1e-3)


def test_normalised_deltas_are_decoded_with_constants_that_follow_a_device_and_are_not_in_the_state():
    means, stds = (0.0, 0.1, 0.0, 0.0), (0.1, 0.1, 0.2, 0.2)
    deltas = torch.randn(5, 4, generator=torch.Generator().manual_seed(4))
    corners = DeltaCorners(means, stds)
    torch.testing.assert_close(corners(deltas), decode_unit(deltas * torch.tensor(stds) + torch.tensor(means)))
    assert corners(deltas).dtype == torch.float32
    assert not corners.state_dict()
    assert {name: buffer.is_meta for name, buffer in corners.to("meta").named_buffers()} == {
        "means": True,
        "stds": True,
    }


def test_no_boxes_give_no_qualities():
    assert box_quality(torch.zeros(0, 4), torch.zeros(0, 4), "giou").shape == (0,)
