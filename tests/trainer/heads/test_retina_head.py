"""The head against the formula, written out entry by entry, on targets that mmdet's own head assigns."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from paploss.trainer.profiles.retinanet_tiny import SIZE

from paploss.jobs.losses import HandmadeAP, LossSpec, ParameterizedAP
from paploss.jobs.presets import PRESETS
from paploss.losses import parameterized_ap_loss
from paploss.trainer.detectors import MODELS
from paploss.trainer.heads import RankingRetinaHead
from paploss.trainer.heads.quality import box_quality, decode_unit
from paploss.trainer.profiles.retinanet import retinanet

CLASSES = 3
SIDE_PX = 64
METAS = [{"img_shape": (SIDE_PX, SIDE_PX), "pad_shape": (SIDE_PX, SIDE_PX)}] * 2


def build_head(loss: LossSpec, **changes) -> RankingRetinaHead:
    model = retinanet(SIZE, CLASSES, loss, frozen_backbone=False)
    config = {**model["bbox_head"], "train_cfg": model["train_cfg"], "test_cfg": model["test_cfg"], **changes}
    return MODELS.build(ConfigDict(config))


def outputs(seed: int = 0) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    sides = [SIDE_PX // stride for stride in SIZE.strides]
    scores = [torch.randn(2, 6 * CLASSES, side, side, generator=generator).requires_grad_() for side in sides]
    deltas = [torch.randn(2, 6 * 4, side, side, generator=generator).requires_grad_() for side in sides]
    return scores, deltas


def instances(*boxes_and_labels) -> list[InstanceData]:
    return [
        InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels).long())
        for boxes, labels in boxes_and_labels
    ]


TRUTH = ([[4, 4, 36, 40], [30, 30, 60, 62]], [1, 2]), ([[10, 0, 42, 30]], [0])


def test_loss_is_the_formula_over_all_entries_of_all_images():
    head = build_head(PRESETS["retinanet"])
    scores, deltas = outputs()
    found = head.loss_by_feat(scores, deltas, instances(*TRUTH), METAS)["loss_rank"]

    anchors, flags = head.get_anchors([score.shape[-2:] for score in scores], METAS, device="cpu")
    labels, weights, targets, _, _ = head.get_targets(anchors, flags, instances(*TRUTH), METAS)
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


def test_gradient_scale_changes_the_gradient_of_the_boxes_alone():
    gradients, losses = [], []
    for scale in (1.0, 4.0):
        parameters = PRESETS["retinanet"].heads["bbox_head"].model_copy(update={"gradient_scale": scale})
        head = build_head(ParameterizedAP(heads={"bbox_head": parameters}))
        scores, deltas = outputs()
        loss = head.loss_by_feat(scores, deltas, instances(*TRUTH), METAS)["loss_rank"]
        loss.backward()
        losses.append(loss.item())
        gradients.append(([score.grad for score in scores], [delta.grad for delta in deltas]))
    assert losses[0] == losses[1]
    (scores_1, deltas_1), (scores_4, deltas_4) = gradients
    assert sum(gradient.abs().sum() for gradient in deltas_1) > 0
    torch.testing.assert_close(scores_4, scores_1)
    torch.testing.assert_close(deltas_4, [4 * gradient for gradient in deltas_1])


def test_a_batch_without_a_positive_gives_zero_with_a_graph_to_every_output():
    head = build_head(PRESETS["retinanet"])
    scores, deltas = outputs()
    loss = head.loss_by_feat(scores, deltas, instances(([], []), ([], [])), METAS)["loss_rank"]
    assert loss.item() == 0
    loss.backward()
    assert all(output.grad is not None and not output.grad.any() for output in scores + deltas)


def test_every_output_has_a_gradient_where_one_level_has_all_positives():
    head = build_head(PRESETS["retinanet"])
    scores, deltas = outputs()
    head.loss_by_feat(scores, deltas, instances(([[4, 4, 36, 40]], [1]), ([], [])), METAS)["loss_rank"].backward()
    assert all(output.grad is not None for output in scores + deltas)


def test_anchors_inside_a_crowd_are_left_out():
    head = build_head(PRESETS["retinanet"])
    scores, deltas = outputs()
    crowd = [InstanceData(bboxes=torch.tensor([[0.0, 0.0, SIDE_PX, SIDE_PX]])), InstanceData(bboxes=torch.zeros(0, 4))]
    truth = instances(([[0, 0, 12, 12]], [0]), TRUTH[1])
    head.loss_by_feat(scores, deltas, truth, METAS, crowd)["loss_rank"].backward()
    # Ordinary negatives of an image would feel the positives of the other one; those inside the crowd do not.
    assert not scores[0].grad[0, :, 5:7, 5:7].any()
    assert scores[0].grad[1].any()


@pytest.mark.parametrize("form", ["linear", "square", "sigmoid"])
def test_handmade_forms_train(form):
    head = build_head(HandmadeAP(form=form))
    scores, deltas = outputs()
    loss = head.loss_by_feat(scores, deltas, instances(*TRUTH), METAS)["loss_rank"]
    loss.backward()
    assert loss.item() > 0
    assert all(output.grad.isfinite().all() for output in scores + deltas)


def test_logits_that_are_not_finite_give_a_nan_loss_without_an_error():
    head = build_head(PRESETS["retinanet"])
    scores, deltas = outputs()
    with torch.no_grad():
        deltas[0][0] = torch.nan
    assert head.loss_by_feat(scores, deltas, instances(*TRUTH), METAS)["loss_rank"].isnan()


def test_softmax_outputs_are_refused():
    with pytest.raises(ValueError, match="loss_cls"):
        build_head(PRESETS["retinanet"], loss_cls={"type": "CrossEntropyLoss", "use_sigmoid": False})
