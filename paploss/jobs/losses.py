"""The losses by name, the detectors that each fits, and the published results beside which ours are read."""

from dataclasses import dataclass, field
from typing import Final

from paploss.jobs.profiles import DETECTORS, PROFILES, Detector
from paploss.jobs.spec import LossName, LossSpec

_ONE_STAGE: Final[tuple[Detector, ...]] = ("retinanet", "atss")


@dataclass(frozen=True)
class LossCard:
    """A loss as the tables name it."""

    name: LossName
    title: str
    detectors: tuple[Detector, ...]
    """Where it can be trained."""


LOSSES: Final = {
    card.name: card
    for card in (
        LossCard("parameterized_ap", "Parameterized AP", DETECTORS),
        LossCard("handmade_ap", "Hand-made AP", DETECTORS),
        LossCard("ap_l1", "AP Loss + L1", DETECTORS),
        LossCard("alrp", "aLRP", DETECTORS),
        LossCard("rank_sort", "Rank & Sort", DETECTORS),
        LossCard("focal_l1", "Focal + L1", ("retinanet",)),
        LossCard("focal_giou", "Focal + GIoU", _ONE_STAGE),
        LossCard("ce_l1", "CE + L1", ("faster-rcnn",)),
        LossCard("ce_giou", "CE + GIoU", ("faster-rcnn",)),
        LossCard("cse_autoloss_a", "CSE-AutoLoss-A", ("faster-rcnn",)),
        LossCard("cse_autoloss_b", "CSE-AutoLoss-B", _ONE_STAGE),
    )
}
"""Every loss that can be trained here."""


@dataclass(frozen=True)
class PublishedResult:
    """A row of the published tables: AP on COCO with ResNet-50 and FPN, as a fraction."""

    detector: Detector
    title: str
    ap: float
    loss: LossName | None
    """The loss here, or none where it cannot be trained, for the reason in `remark`."""
    remark: str = field(default="")


PUBLISHED_RESULTS: Final = (
    PublishedResult("retinanet", "Focal + L1", 0.375, "focal_l1"),
    PublishedResult("retinanet", "Focal + GIoU", 0.392, "focal_giou"),
    PublishedResult("retinanet", "AP Loss + L1", 0.354, "ap_l1"),
    PublishedResult("retinanet", "aLRP", 0.390, "alrp"),
    PublishedResult("retinanet", "Parameterized AP", 0.405, "parameterized_ap"),
    PublishedResult("faster-rcnn", "CE + L1", 0.390, "ce_l1"),
    PublishedResult("faster-rcnn", "CE + GIoU", 0.391, "ce_giou"),
    PublishedResult("faster-rcnn", "aLRP", 0.407, "alrp"),
    PublishedResult("faster-rcnn", "AutoLoss-Zero", 0.393, None, "its discovered formulas are not public"),
    PublishedResult("faster-rcnn", "CSE-AutoLoss-A", 0.404, "cse_autoloss_a"),
    PublishedResult("faster-rcnn", "Parameterized AP", 0.420, "parameterized_ap"),
)
"""Source: the result tables of Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021."""


def check_fit(loss: LossSpec, profile: str) -> None:
    """Refuse a loss that the profile's detector cannot be trained with.

    Args:
        loss: any loss.
        profile: a name in PROFILES.

    Raises:
        ValueError: names what was expected and what came.
    """
    card = PROFILES[profile]
    if card.detector not in (None, *LOSSES[loss.name].detectors):
        fitting = ", ".join(one.name for one in LOSSES.values() if card.detector in one.detectors)
        raise ValueError(f"loss.name: expected one of {fitting} for the profile {profile!r}, got {loss.name!r}")
    if loss.heads and set(loss.heads) != set(card.heads):
        raise ValueError(
            f"loss.heads: expected {', '.join(card.heads)} for the profile {profile!r}, got {', '.join(loss.heads)}"
        )
    if loss.form == "sigmoid" and loss.top_k is None and card.has_many_entries:
        raise ValueError(
            f"loss.top_k: expected for the form sigmoid and the profile {profile!r}, because this form compares all "
            "pairs of positives and other entries; 100000 is usual"
        )
