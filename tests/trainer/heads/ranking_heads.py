"""The detector heads that rank, each with what a test needs to give it outputs and objects."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from paploss.jobs.losses import ParameterizedAP
from paploss.jobs.presets import PRESETS
from paploss.trainer.detectors import build_detector
from paploss.trainer.profiles import atss, deformable_detr, faster_rcnn, retinanet
from paploss.trainer.profiles.recipe import Config

CLASSES, SIDE_PX, IMAGES = 3, 64, 2
META = {"img_shape": (SIDE_PX, SIDE_PX), "pad_shape": (SIDE_PX, SIDE_PX), "scale_factor": (1.0, 1.0)}
METAS = [META] * IMAGES
TRUTH = ([[4, 4, 36, 40], [30, 30, 60, 62]], [1, 2]), ([[10, 0, 42, 30]], [0])
"""Boxes and labels of the objects of each image."""
NOTHING = (([], []), ([], []))


def objects(*boxes_and_labels: tuple[list[list[int]], list[int]]) -> list[InstanceData]:
    return [
        InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels).long())
        for boxes, labels in boxes_and_labels
    ]


@dataclass
class RankingHead(ABC):
    """A head under test. Built ones are shared: a test changes none."""

    published: ParameterizedAP
    name: str = "bbox_head"
    """In the loss's parameters."""
    prefix: str = "loss_"
    """Of the names of its losses."""
    heeds_crowds: bool = True
    """Whether candidates inside a crowd are left out."""

    @cached_property
    def built(self) -> Any:
        """The head, with its first weights and the published parameters."""
        return self.head_of(build_detector(self.model(), seed=0))

    @abstractmethod
    def model(self) -> Config:
        """Of a whole detector."""

    def head_of(self, detector: Any) -> Any:
        return detector.bbox_head

    @abstractmethod
    def outputs(self) -> list[Tensor]:
        """Random logits, then as many box outputs, all of which want a gradient."""

    @abstractmethod
    def losses(self, head: Any, outputs: list[Tensor], truth: Any = TRUTH, crowds: Any = None) -> dict[str, Tensor]:
        """The losses of a batch with the objects of `truth`, and crowds `[x1, y1, x2, y2]` in its first image."""

    @abstractmethod
    def in_first_corner(self, logits: Tensor) -> Tensor:
        """Of logits or their gradient, those of candidates inside the first image's square of 0 to 40 px."""


@dataclass
class AnchorHead(RankingHead):
    """A head on anchors of several levels."""

    anchors: int = 1
    classes: int = CLASSES
    strides: tuple[int, ...] = retinanet.TINY.strides

    def outputs(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        sides = [SIDE_PX // stride for stride in self.strides]
        widths = (self.anchors * self.classes, self.anchors * 4)
        return [
            torch.randn(IMAGES, width, side, side, generator=generator).requires_grad_()
            for width in widths
            for side in sides
        ]

    def split(self, outputs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return outputs[: len(self.strides)], outputs[len(self.strides) :]

    def objects(self, truth: Any) -> list[InstanceData]:
        found = objects(*truth)
        if self.classes == 1:  # as mmdet gives them to an RPN
            found = [InstanceData(bboxes=one.bboxes, labels=torch.zeros_like(one.labels)) for one in found]
        return found

    def losses(self, head: Any, outputs: list[Tensor], truth: Any = TRUTH, crowds: Any = None) -> dict[str, Tensor]:
        ignored = None
        if crowds is not None:
            boxes = torch.tensor(crowds, dtype=torch.float32)
            ignored = [InstanceData(bboxes=boxes), *[InstanceData(bboxes=torch.zeros(0, 4))] * (IMAGES - 1)]
        return head.loss_by_feat(*self.split(outputs), self.objects(truth), METAS, ignored)

    def in_first_corner(self, logits: Tensor) -> Tensor:
        centre = slice(16 // self.strides[0], 24 // self.strides[0])
        return logits[0, :, centre, centre]


@dataclass
class RetinaHead(AnchorHead):
    anchors: int = 6

    def model(self) -> Config:
        return retinanet.retinanet(retinanet.TINY, CLASSES, self.published, frozen_backbone=False)


@dataclass
class ATSSHead(AnchorHead):
    def model(self) -> Config:
        return atss.atss(atss.TINY, CLASSES, self.published, frozen_backbone=False, normalised_groups=8)


@dataclass
class RPNHead(AnchorHead):
    anchors: int = 3
    classes: int = 1
    strides: tuple[int, ...] = faster_rcnn.TINY.strides

    def model(self) -> Config:
        return faster_rcnn.faster_rcnn(faster_rcnn.TINY, CLASSES, self.published, frozen_backbone=False)

    def head_of(self, detector: Any) -> Any:
        return detector.rpn_head


@dataclass
class RCNNHead(RankingHead):
    """The second stage, on proposals that are given."""

    def model(self) -> Config:
        return faster_rcnn.faster_rcnn(faster_rcnn.TINY, CLASSES, self.published, frozen_backbone=False)

    def head_of(self, detector: Any) -> Any:
        return detector.roi_head

    def proposals(self) -> Tensor:
        """`[IMAGES * 25, 4]`: squares of 24 px on a grid, image by image."""
        corners = torch.cartesian_prod(torch.arange(5), torch.arange(5)).flip(1).float() * 10
        return torch.cat((corners, corners + 24), dim=1).repeat(IMAGES, 1)

    def outputs(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        count = len(self.proposals())
        return [torch.randn(count, width, generator=generator).requires_grad_() for width in (CLASSES, CLASSES * 4)]

    def losses(self, head: Any, outputs: list[Tensor], truth: Any = TRUTH, crowds: Any = None) -> dict[str, Tensor]:
        rows, sampled, ignored = [], [], [crowds or [], *[[]] * (IMAGES - 1)]
        per_image = self.proposals().chunk(IMAGES)
        for number, (image, own, proposals) in enumerate(zip(objects(*truth), ignored, per_image, strict=True)):
            priors = InstanceData(priors=proposals)
            crowd = InstanceData(bboxes=torch.tensor(own, dtype=torch.float32).reshape(-1, 4))
            assigned = head.bbox_assigner.assign(priors, image, crowd)
            sampled.append(head.bbox_sampler.sample(assigned, priors, image))
            rows.append(torch.cat((sampled[-1].pos_inds, sampled[-1].neg_inds)) + number * len(proposals))
        taken = torch.cat(rows)  # what the sampler leaves out has no row in mmdet's outputs
        rois = torch.cat([torch.nn.functional.pad(one.priors, (1, 0), value=i) for i, one in enumerate(sampled)])
        logits, deltas = outputs
        return head.bbox_head.loss_and_target(
            cls_score=logits[taken],
            bbox_pred=deltas[taken],
            rois=rois,
            sampling_results=sampled,
            rcnn_train_cfg=head.train_cfg,
        )["loss_bbox"]

    def in_first_corner(self, logits: Tensor) -> Tensor:
        inside = (self.proposals()[:25] <= 40).all(dim=1)
        return logits[:25][inside]


@dataclass
class DeformableDETRHead(RankingHead):
    """One decoder layer."""

    heeds_crowds: bool = False  # mmdet's DETRs do not
    queries: int = 30

    def model(self) -> Config:
        return deformable_detr.deformable_detr(deformable_detr.TINY, CLASSES, self.published, frozen_backbone=False)

    def outputs(self, layers: int = 1) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        shape = layers, IMAGES, self.queries
        logits = torch.randn(*shape, CLASSES, generator=generator)
        boxes = torch.rand(*shape, 4, generator=generator) * 0.5 + 0.2
        return [logits.requires_grad_(), boxes.requires_grad_()]

    def losses(self, head: Any, outputs: list[Tensor], truth: Any = TRUTH, crowds: Any = None) -> dict[str, Tensor]:
        assert crowds is None
        found = [
            InstanceData(bboxes=one.bboxes.to(outputs[1].dtype), labels=one.labels) for one in objects(*truth)
        ]  # the costs of a match have one dtype
        return head.loss_by_feat(*outputs, None, None, found, METAS)

    def in_first_corner(self, logits: Tensor) -> Tensor:
        return logits[:, 0]


HEADS: dict[str, RankingHead] = {
    "retina": RetinaHead(PRESETS["retinanet"]),
    "atss": ATSSHead(PRESETS["retinanet"]),
    "rpn": RPNHead(PRESETS["faster-rcnn"], name="rpn_head", prefix="loss_rpn_"),
    "rcnn": RCNNHead(PRESETS["faster-rcnn"]),
    "deformable-detr": DeformableDETRHead(PRESETS["retinanet"]),  # none is published for it
}
