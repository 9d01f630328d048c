"""What the controller must know of each profile without importing a detector: its heads and its resource class.

The detectors themselves are in `trainer/profiles`; a test keeps the two lists equal.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProfileCard:
    """A detector with its proxy and final schedules, installed by the operator."""

    name: str
    heads: tuple[str, ...]
    """Heads that carry a Parameterized AP Loss; each has five functions and one gradient scale in theta."""
    preset: str | None
    """The published parameter set that fits these heads."""
    gpus: int
    """GPUs of one trial unless the search says otherwise; 0 runs anywhere."""
    summary: str


PROFILES = {
    card.name: card
    for card in (
        ProfileCard("retinanet-tiny", ("bbox_head",), "retinanet", 0, "RetinaNet for CPUs and small data sets"),
        ProfileCard("retinanet-r50", ("bbox_head",), "retinanet", 1, "RetinaNet, ResNet-50 + FPN, published schedules"),
        ProfileCard("synthetic", ("bbox_head",), "retinanet", 0, "no detector: a known function of theta, for tests"),
    )
}
