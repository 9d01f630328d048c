"""What a search may gain and what it could detect, judged from a few trainings before it begins.

Notation: s is the standard deviation of one training's reward between seeds, without what common seeds share; b that of
the true rewards of the losses that were tried, each at its best learning rate; K the number of those that b is measured
from; N the search's trainings.

Losses that hardly train say nothing about how the others differ, and one of them would make b as large as its own
distance. So those are left out that lie below the median by more than three times the larger of s and 1.4826 times the
median absolute deviation (the standard deviation of normal values; Hampel, "The Influence Curve and its Role in Robust
Estimation", JASA 1974). The caller leaves out the identity.

The losses of a search are taken to differ as those that are left. The best of n, chosen by one noisy training each, is
then truly better than the mean loss by b² / sqrt(b² + s²) times the expected greatest of n standard normal values (for
which Blom's approximation is used: "Statistical Estimates and Transformed Beta-Variables", 1958). What the search may
gain is this for N less the same for K: its lead over the best of the losses that were tried, which is there without any
search. Its race at the end, of n common seeds, tells a difference d in four of five races where
d = (t + 0.84) sqrt(2) s / sqrt(n), with the t of `paploss.controller.search.race`. Both are of use to the factor of two
or so to which a handful of trainings can measure s and b.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri, stdtrit

from paploss.controller.search.race import level
from paploss.controller.search.space import Vector

LEAST_REWARD: Final = 0.03
"""Below it losses cannot be ranked: almost nothing has been learned."""
_POWER: Final = 0.8
_FAR: Final = 3.0
"""Standard deviations below the median, from which on a loss is left out of the spread."""

Rewards = Mapping[str, Mapping[int, float]]
"""By label, then by seed."""


@dataclass(frozen=True)
class Outlook:
    """What a search may expect; rewards as fractions. None where too few trainings have a result.

    Spread and gain take two losses, noise and what is detectable two losses with two further seeds; a race of one seed
    has no interval and tells nothing.
    """

    noise: float | None
    """s."""
    spread: float | None
    """b; 0 where the losses differ by no more than noise."""
    gain: float | None
    """Expected lead of the search's best over the best of the losses that were tried."""
    detectable: float | None
    """The lead over another loss that the race at the end detects in four of five cases."""

    @property
    def is_promising(self) -> bool:
        """Whether the race could detect the gain that may be expected."""
        return self.gain is not None and self.detectable is not None and self.gain >= self.detectable


def judge(best: Sequence[float], repeated: Rewards, trainings: int, entrants: int, looks: Sequence[int]) -> Outlook:
    """The outlook of a search.

    Args:
        best: reward of each loss that was tried, but the identity, at its best learning rate; all with one seed.
        repeated: rewards of some of them with further seeds, the same for all.
        trainings: N, at least 1.
        entrants: losses in the race at the end, at least 2.
        looks: numbers of seeds after which the race is looked at.
    """
    noise = _measure_noise(repeated)
    if noise is None:
        return Outlook(None, None, None, None)
    seeds = looks[-1]
    freedom = max((seeds - 1) * (entrants - 1), 1)
    reach = float(-stdtrit(freedom, level(entrants, looks))) + float(ndtri(_POWER))
    detectable = reach * math.sqrt(2 / seeds) * noise if seeds > 1 else None
    if len(best) < 2:
        return Outlook(noise, None, None, detectable)
    usual = _leave_out_failures(np.array(best), noise)
    spread = math.sqrt(max(float(np.var(usual, ddof=1)) - noise**2, 0.0))
    step = spread**2 / math.hypot(spread, noise) if spread else 0.0
    gain = step * max(_expected_greatest(trainings) - _expected_greatest(len(usual)), 0.0)
    return Outlook(noise, spread, gain, detectable)


def _leave_out_failures(rewards: Vector, noise: float) -> Vector:
    """Those that are not far below the median: more than half of them, and both of two."""
    median = float(np.median(rewards))
    usual = max(1.4826 * float(np.median(np.abs(rewards - median))), noise)
    return rewards[rewards >= median - _FAR * usual]


def _expected_greatest(count: int) -> float:
    """Of so many standard normal values, by Blom's approximation."""
    return float(ndtri((count - 0.375) / (count + 0.25)))


def _measure_noise(repeated: Rewards) -> float | None:
    """From the residuals of the layout of losses by seeds; None where no two losses have two seeds in common.

    Where trainings were lost, from the losses and the seeds that leave most degrees of freedom.
    """
    layouts = [
        (labels, sorted(set.intersection(*(set(repeated[label]) for label in labels))))
        for count in range(len(repeated), 1, -1)
        for labels in itertools.combinations(repeated, count)
    ]
    labels, seeds = max(layouts, key=_freedom, default=((), []))
    freedom = _freedom((labels, seeds))
    if freedom < 1:
        return None
    table = np.array([[repeated[label][seed] for seed in seeds] for label in labels])
    residuals = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    return math.sqrt(float((residuals**2).sum()) / freedom)


def _freedom(layout: tuple[Sequence[str], Sequence[int]]) -> int:
    labels, seeds = layout
    return (len(labels) - 1) * max(len(seeds) - 1, 0)
