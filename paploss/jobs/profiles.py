"""The detector families and their profiles, as far as anybody must know them without importing a detector.

The detectors themselves are in `trainer/profiles`, which does not start unless it has a recipe for each profile here.
"""

from dataclasses import dataclass
from typing import Final, Literal

Detector = Literal["retinanet", "faster-rcnn", "atss", "deformable-detr"]


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
    stops_anywhere: bool = True
    """Whether its trainings can stop at any length and be continued later."""


@dataclass(frozen=True)
class Family:
    """A kind of detector: what is the same in all its profiles."""

    detector: Detector
    title: str
    heads: tuple[str, ...]
    """As in a ProfileCard."""
    preset: str | None
    """As in a ProfileCard."""
    neck: str = " + FPN"
    """What the published size has between backbone and head."""

    def tiny(self) -> ProfileCard:
        """A size for CPUs."""
        summary = f"{self.title} for CPUs and small data sets"
        return ProfileCard(f"{self.detector}-tiny", self.detector, self.heads, self.preset, 0, summary)

    def r50(self) -> ProfileCard:
        """The published size."""
        summary = f"{self.title}, ResNet-50{self.neck}, published schedules"
        return ProfileCard(
            f"{self.detector}-r50", self.detector, self.heads, self.preset, 1, summary, has_many_entries=True
        )


RETINANET: Final = Family("retinanet", "RetinaNet", ("bbox_head",), "retinanet")
FASTER_RCNN: Final = Family("faster-rcnn", "Faster R-CNN", ("rpn_head", "bbox_head"), "faster-rcnn")
ATSS: Final = Family("atss", "ATSS", ("bbox_head",), "retinanet")
DEFORMABLE_DETR: Final = Family("deformable-detr", "Deformable DETR", ("bbox_head",), None, neck="")
SYNTHETIC: Final = ProfileCard(
    "synthetic", None, ("bbox_head",), "retinanet", 0, "no detector: a known function of theta, for tests"
)
COMMAND: Final = ProfileCard(
    "command",
    None,
    ("bbox_head",),
    "retinanet",
    0,
    "a training program of your own, which the workers' setting names",
    stops_anywhere=False,
)

PROFILES: Final = {
    card.name: card
    for card in (
        RETINANET.tiny(),
        RETINANET.r50(),
        FASTER_RCNN.tiny(),
        FASTER_RCNN.r50(),
        ATSS.tiny(),
        ATSS.r50(),
        DEFORMABLE_DETR.tiny(),
        DEFORMABLE_DETR.r50(),
        SYNTHETIC,
        COMMAND,
    )
}
