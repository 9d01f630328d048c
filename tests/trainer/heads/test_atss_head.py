"""The ATSS head on targets that mmdet's own head assigns."""

import torch
from mmengine.config import ConfigDict

from tests.trainer.heads.ranking_heads import CLASSES, HEADS, IMAGES, METAS, TRUTH, objects

ATSS = HEADS["atss"]


def test_the_loss_is_that_of_the_objective_on_atss_targets():
    head, outputs = ATSS.built, ATSS.outputs()
    found = ATSS.losses(head, outputs)

    scores, deltas = ATSS.split(outputs)
    levels = [score.shape[-2:] for score in scores]
    anchors, flags = head.get_anchors(levels, METAS, device="cpu")
    _, labels, weights, targets, _, _ = super(type(head), head).get_targets(anchors, flags, objects(*TRUTH), METAS)
    rows = [
        (level, image, place)
        for image in range(IMAGES)
        for level, (height, width) in enumerate(levels)
        for place in range(height * width)
    ]

    def of_rows(per_level):
        flat = [one.permute(0, 2, 3, 1).flatten(1, 2) if one.ndim == 4 else one for one in per_level]
        return torch.stack([flat[level][image, place] for level, image, place in rows])

    per_candidate = [of_rows(each) for each in (scores, labels, weights, deltas, targets)]
    assert (per_candidate[1] < CLASSES).sum() > 3
    torch.testing.assert_close(found, head.objective.losses_of(*per_candidate, corners=head.corners))


def test_detections_are_sorted_by_the_score_that_was_ranked():
    head = ATSS.built
    assert not any("centerness" in name for name, _ in head.named_parameters())
    scores, deltas = ATSS.split(ATSS.outputs())
    with torch.no_grad():
        scores[0][0, 2, 3, 4] = 9.0
        test = ConfigDict(score_thr=0.05, nms_pre=10, nms={"type": "nms", "iou_threshold": 0.6}, max_per_img=5)
        (found, _) = head.predict_by_feat(scores, deltas, batch_img_metas=METAS, cfg=test)
    assert found.scores[0] == torch.tensor(9.0).sigmoid()
    assert found.labels[0] == 2
