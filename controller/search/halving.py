"""How many trainings are promoted: asynchronous successive halving, with delayed promotion.

Of the finished trainings of one length, one in `keep` goes on to the next length, and it is always the best of those
that have not. No length waits for the one before to be complete (ASHA: Li et al., 2020). But no more than one in `keep`
goes on at any time, also where a better one ends later (as in Hyper-Tune: Li et al., 2022); so what is promoted is
always among the best `1 / keep` at that moment, and how many trainings of each length a search has is known before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """The trainings of one length."""

    ended: int
    """With a reward."""
    able: int
    """Of these, those that can be promoted: all but the diverged ones."""
    promotions: int = 0
    """Trainings of this length that continue shorter ones, in any state."""
    open: int = 0
    """Of these, queued or running ones."""


def count_due(rungs: Mapping[float, Rung], lengths: Sequence[float], keep: int) -> dict[float, int]:
    """How many trainings of each length are to be promoted now, the greatest length first; none has no entry.

    Args:
        rungs: by length; a length without trainings may be missing.
        lengths: ascending.
        keep: of so many that have ended, one goes on.
    """
    nothing = Rung(0, 0)
    due: dict[float, int] = {}
    for length, longer in zip(reversed(lengths[:-1]), reversed(lengths[1:]), strict=True):
        rung, gone = rungs.get(length, nothing), rungs.get(longer, nothing).promotions
        if (count := min(rung.ended // keep, rung.able) - gone) > 0:
            due[length] = count
    return due
