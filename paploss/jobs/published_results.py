"""The published results beside which ours are read.

Source: the result tables of Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021.
"""

from dataclasses import dataclass
from typing import Final

from paploss.jobs.losses import ALRP, APL1, CEL1, CEGIoU, CSEAutoLossA, FocalGIoU, FocalL1, Loss, ParameterizedAP
from paploss.jobs.profiles import Detector


@dataclass(frozen=True)
class PublishedResult:
    """A row of the published tables: AP on COCO with ResNet-50 and FPN, as a fraction."""

    detector: Detector
    title: str
    ap: float
    loss: type[Loss] | None
    """The loss here, or none where it cannot be trained, for the reason in `remark`."""
    remark: str = ""


PUBLISHED_RESULTS: Final = (
    PublishedResult("retinanet", "Focal + L1", 0.375, FocalL1),
    PublishedResult("retinanet", "Focal + GIoU", 0.392, FocalGIoU),
    PublishedResult("retinanet", "AP Loss + L1", 0.354, APL1),
    PublishedResult("retinanet", "aLRP", 0.390, ALRP),
    PublishedResult("retinanet", "Parameterized AP", 0.405, ParameterizedAP),
    PublishedResult("faster-rcnn", "CE + L1", 0.390, CEL1),
    PublishedResult("faster-rcnn", "CE + GIoU", 0.391, CEGIoU),
    PublishedResult("faster-rcnn", "aLRP", 0.407, ALRP),
    PublishedResult("faster-rcnn", "AutoLoss-Zero", 0.393, None, "we have not found its discovered formulas"),
    PublishedResult("faster-rcnn", "CSE-AutoLoss-A", 0.404, CSEAutoLossA),
    PublishedResult("faster-rcnn", "Parameterized AP", 0.420, ParameterizedAP),
)
