"""What the controller must know of each profile without importing a detector: its heads and its resource class.

The detectors themselves are in `trainer/profiles`; a test keeps the two lists equal.
"""

from dataclasses import dataclass
from typing import Final, Literal

Detector = Literal["retinanet", "faster-rcnn", "atss"]
DETECTORS: Final[tuple[Detector, ...]] = ("retinanet", "faster-rcnn", "atss")


@dataclass(frozen=True)
class ProfileCard:
    """A detector with its proxy and final schedules, installed by the operator."""

    name: str
    detector: Detector | None
    """The family, which decides what losses fit; none takes any."""
    heads: tuple[str, ...]
    """Heads that carry a Parameterized AP Loss; each has five functions and one gradient scale in theta."""
    preset: str | None
    """The published parameter set that fits these heads."""
    gpus: int
    """GPUs of one trial unless the search says otherwise; 0 runs anywhere."""
    summary: str
    has_many_entries: bool = False
    """Whether a batch has so many entries, candidates times classes, that no loss can compare all pairs of them."""


PROFILES = {
    card.name: card
    for card in (
        ProfileCard(
            "retinanet-tiny", "retinanet", ("bbox_head",), "retinanet", 0, "RetinaNet for CPUs and small data sets"
        ),
        ProfileCard(
            "retinanet-r50",
            "retinanet",
            ("bbox_head",),
            "retinanet",
            1,
            "RetinaNet, ResNet-50 + FPN, published schedules",
            has_many_entries=True,
        ),
        ProfileCard(
            "faster-rcnn-tiny",
            "faster-rcnn",
            ("rpn_head", "bbox_head"),
            "faster-rcnn",
            0,
            "Faster R-CNN for CPUs and small data sets",
        ),
        ProfileCard(
            "faster-rcnn-r50",
            "faster-rcnn",
            ("rpn_head", "bbox_head"),
            "faster-rcnn",
            1,
            "Faster R-CNN, ResNet-50 + FPN, published schedules",
            has_many_entries=True,
        ),
        ProfileCard("atss-tiny", "atss", ("bbox_head",), "retinanet", 0, "ATSS for CPUs and small data sets"),
        ProfileCard(
            "atss-r50",
            "atss",
            ("bbox_head",),
            "retinanet",
            1,
            "ATSS, ResNet-50 + FPN, published schedules",
            has_many_entries=True,
        ),
        ProfileCard(
            "synthetic", None, ("bbox_head",), "retinanet", 0, "no detector: a known function of theta, for tests"
        ),
    )
}
