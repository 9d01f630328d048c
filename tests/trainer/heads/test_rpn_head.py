"""The RPN's head: which anchors take part as what, and what its loss is of."""

import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from paploss.trainer.profiles.faster_rcnn_tiny import SIZE

from paploss.jobs.losses import LOSSES, HandmadeAP, LossSpec
from paploss.jobs.presets import PRESETS
from paploss.trainer.detectors import MODELS
from paploss.trainer.heads import RankingRPNHead
from paploss.trainer.heads.anchor_ranking import flatten_levels
from paploss.trainer.profiles.faster_rcnn import faster_rcnn

PUBLISHED = PRESETS["faster-rcnn"]
SIDE_PX = 64
METAS = [{"img_shape": (SIDE_PX, SIDE_PX), "pad_shape": (SIDE_PX, SIDE_PX)}] * 2
BOXES = ([[4, 4, 36, 40], [30, 30, 60, 62]], [[10, 0, 42, 30]])
OTHER_LOSSES = {
    "handmade_ap": HandmadeAP(form="linear"),
    **{name: LOSSES[name]() for name in ("ap_l1", "alrp", "rank_sort")},
}


def build_head(loss: LossSpec = PUBLISHED, **ranking) -> RankingRPNHead:
    model = faster_rcnn(SIZE, 3, loss, frozen_backbone=False)
    config = model["rpn_head"] | {"train_cfg": model["train_cfg"]["rpn"], "test_cfg": model["test_cfg"]["rpn"]}
    return MODELS.build(ConfigDict({**config, "ranking": {**config["ranking"], **ranking}}))


def outputs() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    sides = [SIDE_PX // stride for stride in SIZE.strides]
    scores = [torch.randn(2, 3, side, side, generator=generator).requires_grad_() for side in sides]
    deltas = [torch.randn(2, 12, side, side, generator=generator).requires_grad_() for side in sides]
    return scores, deltas


def objects(boxes=BOXES) -> list[InstanceData]:
    """As mmdet hands them to an RPN: every label is 0."""
    corners = [torch.tensor(each, dtype=torch.float32).reshape(-1, 4) for each in boxes]
    return [InstanceData(bboxes=each, labels=torch.zeros(len(each)).long()) for each in corners]


def test_loss_is_that_of_every_anchor_by_its_overlap_and_none_is_drawn():
    head = build_head()
    scores, deltas = outputs()
    found = head.loss_by_feat(scores, deltas, objects(), METAS)

    (anchors, _), _ = head.get_anchors([score.shape[-2:] for score in scores], METAS, device="cpu")
    anchors = torch.cat(anchors)
    labels, weights, targets = [], [], []
    for boxes in (each.bboxes for each in objects()):
        overlap = bbox_overlaps(anchors, boxes)
        best = overlap.max(dim=0).values
        is_best = ((overlap == best) & (best >= 0.3)).any(dim=1)  # an object that nothing overlaps by 0.7
        positive = (overlap.max(dim=1).values >= 0.7) | is_best
        negative = overlap.max(dim=1).values < 0.3
        assert 0 < positive.sum() < 64
        assert (~positive & ~negative).any()
        labels.append(torch.where(positive, 0, 1))
        weights.append((positive | negative).float())
        owner = torch.where(is_best, (overlap == best).float().argmax(dim=1), overlap.argmax(dim=1))
        targets.append(head.bbox_coder.encode(anchors, boxes[owner]))
    expected = head.objective(
        flatten_levels(scores, 1),
        torch.cat(labels),
        torch.cat(weights),
        flatten_levels(deltas, 4),
        torch.cat(targets),
    )
    assert set(found) == {"loss_rpn_rank"}
    torch.testing.assert_close(found["loss_rpn_rank"], expected["loss_rank"])


def test_its_functions_and_gradient_scale_are_its_own():
    objective = build_head().objective
    assert objective.stds.tolist() == [0.1, 0.1, 0.2, 0.2]
    own = PUBLISHED.heads["rpn_head"]
    assert objective.gradient_scale == own.gradient_scale
    assert objective.control_points.tolist() == [[list(point) for point in row] for row in own.control_points]


def test_gradient_scale_changes_the_gradient_of_the_boxes_alone():
    gradients = []
    for scale in (1.0, 4.0):
        head = build_head(gradient_scale=scale)
        scores, deltas = outputs()
        head.loss_by_feat(scores, deltas, objects(), METAS)["loss_rpn_rank"].backward()
        gradients.append(([score.grad for score in scores], [delta.grad for delta in deltas]))
    (scores_1, deltas_1), (scores_4, deltas_4) = gradients
    assert any(gradient.any() for gradient in deltas_1)
    torch.testing.assert_close(scores_4, scores_1)
    torch.testing.assert_close(deltas_4, [4 * gradient for gradient in deltas_1])


@pytest.mark.parametrize("loss", [PUBLISHED, *OTHER_LOSSES.values()], ids=lambda loss: loss.name)
def test_a_batch_without_an_object_gives_zero_with_a_graph_to_every_output(loss):
    scores, deltas = outputs()
    losses = build_head(loss).loss_by_feat(scores, deltas, objects(([], [])), METAS)
    assert all(name.startswith("loss_rpn_") and value == 0 for name, value in losses.items())
    sum(losses.values()).backward()
    assert all(output.grad is not None and not output.grad.any() for output in scores + deltas)


def test_anchors_inside_a_crowd_are_left_out():
    scores, deltas = outputs()
    crowds = [InstanceData(bboxes=torch.tensor([[0.0, 0.0, SIDE_PX, SIDE_PX]])), InstanceData(bboxes=torch.zeros(0, 4))]
    build_head().loss_by_feat(scores, deltas, objects(), METAS, crowds)["loss_rpn_rank"].backward()
    # Ordinary negatives of an image would feel the positives of the other one; those inside the crowd do not.
    assert not scores[0].grad[0, :, 4:12, 4:12].any()
    assert scores[0].grad[1].any()


def test_published_weights_of_the_other_losses():
    assert build_head(OTHER_LOSSES["alrp"]).objective.positive_iou == 0.7
    assert [build_head(loss).objective.weight for loss in OTHER_LOSSES.values()] == [1, 1, 0.2, 0.2]


def test_every_anchor_starts_with_the_score_of_the_prior():
    head = build_head()
    head.init_weights()
    torch.testing.assert_close(head.rpn_cls.bias.sigmoid(), torch.full((3,), 0.01))
    assert not head.rpn_reg.bias.any()
