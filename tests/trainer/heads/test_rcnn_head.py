"""The second stage's head: which proposals take part as what, what its loss is of, and what it predicts."""

from functools import cache

import torch
from mmengine.structures import InstanceData

from paploss.jobs.losses import CSEAutoLossA, Loss, ParameterizedAP
from paploss.jobs.presets import PRESETS
from paploss.losses import parameterized_ap_loss
from paploss.trainer.detectors import build_detector
from paploss.trainer.heads.quality import box_quality
from paploss.trainer.profiles.faster_rcnn import TINY, faster_rcnn

PUBLISHED = PRESETS["faster-rcnn"]
CLASSES = 3
BACKGROUND = CLASSES
OBJECTS = InstanceData(bboxes=torch.tensor([[10.0, 10, 30, 30], [40, 40, 60, 50]]), labels=torch.tensor([2, 0]))
PROPOSALS = torch.tensor(
    [
        [11.0, 10, 31, 30],  # overlaps the first object by 0.9
        [10, 10, 20, 30],  # by just 0.5
        [10, 10, 19, 30],  # by 0.45
        [40, 40, 62, 52],  # the second one
        [0, 0, 5, 5],
    ]
)
OWNERS, LABELS = [0, 0, 1], [2, 2, 0]
"""Object and class of the positive proposals 0, 1, 3."""


@cache
def build_roi_head(record: type[Loss] = ParameterizedAP):
    """Shared by the tests, none of which changes it."""
    loss = PUBLISHED if record is ParameterizedAP else record()
    return build_detector(faster_rcnn(TINY, CLASSES, loss, frozen_backbone=False), seed=0).roi_head


def sample(roi_head, crowds: list[list[float]] = []):  # noqa: B006 (never changed)
    priors, ignored = InstanceData(priors=PROPOSALS), InstanceData(bboxes=torch.tensor(crowds).reshape(-1, 4))
    return roi_head.bbox_sampler.sample(roi_head.bbox_assigner.assign(priors, OBJECTS, ignored), priors, OBJECTS)


def outputs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits, deltas = (torch.randn(count, width, generator=generator) for width in (CLASSES, CLASSES * 4))
    return logits.requires_grad_(), deltas.requires_grad_()


def losses_of(roi_head, logits, deltas, sampled) -> dict[str, torch.Tensor]:
    rois = torch.cat((torch.zeros(len(sampled.priors), 1), sampled.priors), dim=1)
    return roi_head.bbox_head.loss_and_target(
        cls_score=logits, bbox_pred=deltas, rois=rois, sampling_results=[sampled], rcnn_train_cfg=roi_head.train_cfg
    )["loss_bbox"]


def test_every_proposal_takes_part_and_no_object_is_added():
    roi_head = build_roi_head()
    sampled = sample(roi_head)
    labels, weights, targets, _ = roi_head.bbox_head.get_targets([sampled], roi_head.train_cfg)
    torch.testing.assert_close(sampled.priors, PROPOSALS[[0, 1, 3, 2, 4]])  # positives first
    assert labels.tolist() == [*LABELS, BACKGROUND, BACKGROUND]
    assert weights.tolist() == [1] * 5
    expected = roi_head.bbox_head.bbox_coder.encode(PROPOSALS[[0, 1, 3]], OBJECTS.bboxes[OWNERS])
    torch.testing.assert_close(targets[:3], expected)


def test_proposals_inside_a_crowd_are_left_out():
    sampled = sample(build_roi_head(), crowds=[[0, 0, 8, 8]])
    torch.testing.assert_close(sampled.priors, PROPOSALS[[0, 1, 3, 2]])


def test_loss_is_the_formula_with_boxes_of_each_positives_class_decoded_on_its_proposal():
    roi_head = build_roi_head()
    sampled = sample(roi_head)
    logits, deltas = outputs(5)
    found = losses_of(roi_head, logits, deltas, sampled)

    own = torch.stack([deltas[row, 4 * label : 4 * label + 4] for row, label in enumerate(LABELS)])
    boxes_px = roi_head.bbox_head.bbox_coder.decode(sampled.priors[:3], own)
    quality, targets = torch.zeros(5, CLASSES), torch.zeros(5, CLASSES)
    quality[range(3), LABELS] = box_quality(boxes_px, OBJECTS.bboxes[OWNERS], "giou")
    targets[range(3), LABELS] = 1
    points = torch.tensor(PUBLISHED.heads["bbox_head"].control_points, dtype=torch.float64)
    expected = parameterized_ap_loss(logits.flatten(), quality.flatten(), targets.flatten(), points)
    assert set(found) == {"loss_rank"}
    torch.testing.assert_close(found["loss_rank"], expected)


def test_only_the_box_of_a_positives_own_class_has_a_gradient():
    roi_head = build_roi_head()
    logits, deltas = outputs(5)
    losses_of(roi_head, logits, deltas, sample(roi_head))["loss_rank"].backward()
    assert deltas.grad.unflatten(1, (CLASSES, 4)).abs().sum(2).nonzero().tolist() == [[0, 2], [1, 2], [2, 0]]


def test_one_output_per_class_and_no_bias_at_the_start():
    head = build_roi_head().bbox_head
    assert head.fc_cls.out_features == CLASSES
    assert head.fc_reg.out_features == CLASSES * 4
    assert not head.fc_cls.bias.any()


def test_scores_are_sigmoids_of_each_class_by_itself():
    roi_head = build_roi_head()
    logits = torch.full((5, CLASSES), -10.0)
    logits[0, 0], logits[0, 2], logits[1, 2], logits[4, 1] = 1.0, 2.0, -1.0, -2.9
    logits[3, 1] = -2.95  # a score of 0.0497, below the threshold
    rois = torch.cat((torch.zeros(5, 1), PROPOSALS), dim=1)
    (found,) = roi_head.bbox_head.predict_by_feat(
        (rois,), (logits,), (torch.zeros(5, CLASSES * 4),), [{"img_shape": (64, 64)}], roi_head.test_cfg
    )
    scores = torch.tensor([2.0, 1.0, -1.0, -2.9]).sigmoid()
    torch.testing.assert_close(found.scores, scores)
    assert found.labels.tolist() == [2, 0, 2, 1]  # a proposal may be of several classes
    torch.testing.assert_close(found.bboxes, PROPOSALS[[0, 0, 1, 4]])


def test_a_box_that_overlaps_a_better_one_of_its_class_is_dropped():
    roi_head = build_roi_head()
    logits = torch.tensor([[2.0, -10, -10], [1.0, -10, -10]])
    rois = torch.tensor([[0.0, 10, 10, 30, 30], [0, 11, 10, 31, 30]])
    (found,) = roi_head.bbox_head.predict_by_feat(
        (rois,), (logits,), (torch.zeros(2, CLASSES * 4),), [{"img_shape": (64, 64)}], roi_head.test_cfg
    )
    torch.testing.assert_close(found.bboxes, rois[:1, 1:])


def test_autoloss_weights_each_positive_by_how_well_its_box_fits():
    roi_head = build_roi_head(CSEAutoLossA)
    sampled = sample(build_roi_head())  # takes all, in a known order
    logits, deltas = torch.randn(5, CLASSES + 1, generator=torch.Generator().manual_seed(1)), outputs(5)[1]
    found = losses_of(roi_head, logits.requires_grad_(), deltas, sampled)

    own = torch.stack([deltas[row, 4 * label : 4 * label + 4] for row, label in enumerate(LABELS)])
    boxes = roi_head.bbox_head.bbox_coder.decode(sampled.priors[:3], own)
    targets = OBJECTS.bboxes[OWNERS]
    iou = box_quality(boxes.detach(), targets, "iou")
    boosts = 1 + torch.cat((iou, torch.ones(2))).sin()
    cross_entropy = torch.nn.functional.cross_entropy(
        logits, torch.tensor([*LABELS, BACKGROUND, BACKGROUND]), reduction="none"
    )
    torch.testing.assert_close(found["loss_cls"], (boosts * cross_entropy).mean())
    corners = torch.minimum(boxes, targets)[:, :2], torch.maximum(boxes, targets)[:, 2:]
    hull = (corners[1] - corners[0]).prod(dim=1)
    inner = (torch.minimum(boxes, targets)[:, 2:] - torch.maximum(boxes, targets)[:, :2]).clamp_min(0).prod(dim=1)
    expected = (1 - box_quality(boxes, targets, "iou")) + 1 - (inner + 2) / hull
    torch.testing.assert_close(found["loss_bbox"], 10 * expected.sum() / 5)
