"""How a race of losses over common seeds ended, as it is stored and answered. No statistics: clients read it too."""

from collections.abc import Mapping
from typing import Any

from paploss.jobs.messages import Message


class Margin(Message):
    """How far the loss to use is ahead of another one, in AP as a fraction."""

    label: str
    mean: float
    interval: tuple[float, float] | None
    """As the race decides by it: wider than one for this pair alone; none with fewer than two common seeds."""
    seeds: int
    """That both have: fewer than the race has had, where the other one left it early."""
    is_decided: bool
    """Whether the other one is decided not to be the best."""
    beaten_by: str | None = None
    """Of one that has left the race: label of the loss that was ahead then. The interval here may hold 0 where that is
    not the loss to use."""


class Verdict(Message):
    """Which loss to use."""

    use: str
    """Label of the best loss; where it is not decided, of the one that is ahead."""
    is_decided: bool
    seeds: int
    """That the race has had."""
    more_seeds: int | None
    """About how many more would decide it; none where that cannot be told."""
    margins: tuple[Margin, ...]
    """Over each other loss, those that are not decided first."""
    sentence: str
    """All this for people, AP in percent."""


def names_another(report: Mapping[str, Any]) -> bool:
    """Whether the verdict of a confirmed search is for a loss that it did not find: the published set, a rival.

    The report may be of another version: what it does not say is not so.
    """
    verdict = report.get("verdict") or {}
    found = [candidate.get("label") for candidate in report.get("candidates", ())]
    return bool(verdict.get("is_decided")) and verdict.get("use") not in found
