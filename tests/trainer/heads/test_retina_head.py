"""The head against the formula, written out entry by entry, on targets that mmdet's own head assigns."""

import pytest
import torch
from mmengine.config import ConfigDict

from paploss.jobs.presets import PRESETS
from paploss.losses import parameterized_ap_loss
from paploss.trainer.detectors import MODELS
from paploss.trainer.heads.quality import box_quality, decode_unit
from paploss.trainer.profiles.retinanet import TINY, retinanet
from tests.trainer.heads.ranking_heads import CLASSES, HEADS, METAS, TRUTH, objects

RETINA = HEADS["retina"]


def test_loss_is_the_formula_over_all_entries_of_all_images():
    head, outputs = RETINA.built, RETINA.outputs()
    scores, deltas = RETINA.split(outputs)
    found = RETINA.losses(head, outputs)["loss_rank"]

    anchors, flags = head.get_anchors([score.shape[-2:] for score in scores], METAS, device="cpu")
    labels, weights, targets, _, _ = head.get_targets(anchors, flags, objects(*TRUTH), METAS)
    logits, quality, entry_targets = [], [], []
    stds = torch.tensor([0.1, 0.1, 0.2, 0.2])
    for level, (score, delta) in enumerate(zip(scores, deltas, strict=True)):
        for image in range(2):
            flat_scores = score[image].permute(1, 2, 0).reshape(-1, CLASSES)
            flat_deltas = delta[image].permute(1, 2, 0).reshape(-1, 4)
            for anchor in range(len(flat_scores)):
                label, ignored = int(labels[level][image, anchor]), weights[level][image, anchor] == 0
                for cls in range(CLASSES):
                    logits.append(flat_scores[anchor, cls])
                    positive = cls == label and not ignored
                    entry_targets.append(-1 if ignored else int(positive))
                    pair = (flat_deltas[anchor] * stds)[None], (targets[level][image, anchor] * stds)[None]
                    corners = [decode_unit(one) for one in pair]
                    quality.append(box_quality(*corners, "giou")[0] if positive else torch.tensor(0.0))
    assert {-1, 0, 1} == set(entry_targets)
    points = torch.tensor(PRESETS["retinanet"].heads["bbox_head"].control_points, dtype=torch.float64)
    expected = parameterized_ap_loss(torch.stack(logits), torch.stack(quality), torch.tensor(entry_targets), points)
    torch.testing.assert_close(found, expected)


def test_softmax_outputs_are_refused():
    config = retinanet(TINY, CLASSES, PRESETS["retinanet"], frozen_backbone=False)["bbox_head"]
    with pytest.raises(ValueError, match="loss_cls"):
        MODELS.build(ConfigDict({**config, "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False}}))
