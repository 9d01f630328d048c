"""The RPN's head: which anchors take part as what, and what its loss is of."""

import torch
from mmdet.structures.bbox import bbox_overlaps

from paploss.jobs.losses import ALRP, APL1, HandmadeAP, RankSort
from paploss.trainer.heads.anchor_ranking import flatten_levels
from paploss.trainer.profiles.faster_rcnn_losses import rpn_parts
from tests.trainer.heads.ranking_heads import HEADS, METAS, TRUTH, objects

RPN = HEADS["rpn"]


def test_loss_is_that_of_every_anchor_by_its_overlap_and_none_is_drawn():
    head, outputs = RPN.built, RPN.outputs()
    scores, deltas = RPN.split(outputs)
    found = RPN.losses(head, outputs)

    (anchors, _), _ = head.get_anchors([score.shape[-2:] for score in scores], METAS, device="cpu")
    anchors = torch.cat(anchors)
    labels, weights, targets = [], [], []
    for boxes in (each.bboxes for each in objects(*TRUTH)):
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
    expected = head.objective.losses_of(
        flatten_levels(scores, 1),
        torch.cat(labels),
        torch.cat(weights),
        flatten_levels(deltas, 4),
        torch.cat(targets),
        corners=head.corners,
    )
    assert set(found) == {"loss_rpn_rank"}
    torch.testing.assert_close(found["loss_rpn_rank"], expected["loss_rank"])


def test_published_weights_of_the_other_losses():
    ranking = [rpn_parts(loss).config["ranking"] for loss in (HandmadeAP(form="linear"), APL1(), ALRP(), RankSort())]
    assert [one.get("weight", 1.0) for one in ranking] == [1, 1, 0.2, 0.2]
    assert [one.get("positive_iou", 0.5) for one in ranking] == [0.5, 0.5, 0.7, 0.5]


def test_every_anchor_starts_with_the_score_of_the_prior():
    head = RPN.built
    torch.testing.assert_close(head.rpn_cls.bias.sigmoid(), torch.full((3,), 0.01))
    assert not head.rpn_reg.bias.any()
