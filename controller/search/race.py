"""Which of several losses is the best, from trainings with common seeds that are looked at more than once.

Notation: K entrants, n seeds so far, d_ij the mean of (AP of i - AP of j) over the seeds that both have.

At each look every pair of entrants has the interval d_ij ± t s_ij / sqrt(n_ij). The noise s² is pooled: the variance of
the seeds' differences, averaged over the pairs that are still in the race (for complete data twice the residual mean
square of the layout of losses by seeds). A pair that varies more than that is judged by its own variance, so that one
unsteady loss is not judged by the steadiness of the others; and a pair of steady ones by the pairs of steady ones, so
that the others are not judged by a loss that collapses. An entrant that the leader is better than, with an interval
above 0, leaves the race.

t is Student's quantile for 5 % divided by the number of looks, by that of the pairs that are still in the race, and by
two sides: Bonferroni's inequality over the looks (Dunn, "Multiple comparisons among means", JASA 1961) and Holm's
step-down over the pairs ("A simple sequentially rejective multiple test procedure", Scand. J. Statist. 1979), which
gives the share of those that are decided to those that are left.

A wrong verdict comes in at most 5 % of races on the condition that all losses vary alike. Simulated with equal means
and up to 12 seeds, one loss of 4 or of 12 unlike the others:

first look at                                  3 seeds     5 seeds     8 seeds
equal noise                                    1 to 3 %    2 to 3 %    1 to 3 %
one varies 3 to 6 times as much                5 to 10 %   5 to 6 %    3 to 5 %
one collapses, with 2 of 5 seeds               27 to 31 %  10 to 12 %  4 to 6 %

No interval mends the last row: five seeds show nothing of such a loss's collapse in 0.6^5 = 8 % of races. A loss that
may collapse takes a later first look.

The rule follows from the rewards and the looks alone, so it is replayed from the beginning each time: nothing else is
remembered.
"""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

WRONG_VERDICTS: Final = 0.05
"""Greatest share of races in which any loss is called better than one that is equal to it, where all vary alike."""
_UNSTEADY: Final = 13.0
"""Variance of a loss's differences to others over the usual one: that of a loss with five times the others' standard
deviation, (5² + 1) / 2. A bound of 5 finds no more of those that collapse, but makes more wrong verdicts."""
_GROWTH: Final = 1.5
"""Seeds at a look over those at the one before: few looks, and at most half as many seeds too many."""

Rewards = Mapping[str, Mapping[int, float]]
"""AP by label, then by seed."""


@dataclass(frozen=True)
class Lead:
    """How far the leader is ahead of one other entrant."""

    label: str
    mean: float
    interval: tuple[float, float] | None
    """None with fewer than two common seeds."""
    seeds: int
    """That both have; of one that has left, those that it had when it left."""
    beaten_by: str | None = None
    """Of one that has left the race: the leader then, which need not be the leader now."""

    @property
    def is_decided(self) -> bool:
        """Whether the other has left the race, as not the best."""
        return self.beaten_by is not None


@dataclass(frozen=True)
class Standing:
    """A race as far as it has come."""

    leader: str
    leads: tuple[Lead, ...]
    """Over all others that have a common seed with it, the nearest first."""
    remaining: tuple[str, ...]
    """The leader, and the labels that it is not decided to be better than, in the order in which they were given."""
    more_seeds: int | None
    """About how many more seeds the decision would take at the present differences and noise; 0 when it is decided.
    None where that cannot be estimated: one seed has no noise, and no number of seeds decides a difference of 0."""

    @property
    def is_decided(self) -> bool:
        """Whether one loss is the best, or one group of those that need no decision between them."""
        return self.more_seeds == 0


def plan_looks(first: int, most: int) -> tuple[int, ...]:
    """Numbers of seeds after which a race is looked at: from `first`, growing by half each time, up to `most`.

    Raises ValueError where `first` is below 1 or above `most`.
    """
    if not 1 <= first <= most:
        raise ValueError(f"first, most: expected 1 <= first <= most, got {first} and {most}")
    looks = [first]
    while looks[-1] < most:
        looks.append(min(math.ceil(_GROWTH * looks[-1]), most))
    return tuple(looks)


def judge(rewards: Rewards, seeds: Sequence[int], looks: Sequence[int], group: Collection[str] = ()) -> Standing | None:
    """Replay a race; None where no entrant has a reward.

    Args:
        rewards: all that is measured. A label without a reward is no entrant.
        seeds: the race's seeds in their order, as many as have been trained with.
        looks: after how many seeds it is looked at, as planned at the start; later ones than `seeds` has are to come.
        group: labels among which no decision is needed, e.g. the losses that one search has found.
    """
    labels = [label for label, of_label in rewards.items() if of_label]
    if not labels:
        return None
    remaining, left_at, look = labels, dict[str, _Look](), None
    for count in looks:
        if look is not None and (count > len(seeds) or not _open(remaining, look.leader, group)):
            break
        look = _Look(rewards, remaining, seeds[:count], level(len(remaining), looks))
        while losers := {label for label in remaining if label != look.leader and _is_above(look.lead(label)[1])}:
            left_at |= dict.fromkeys(losers, look)
            remaining = [label for label in remaining if label not in losers]
            look = _Look(rewards, remaining, seeds[:count], level(len(remaining), looks))
    assert look is not None, "looks: expected at least one"  # noqa: S101
    leads = [_lead(look, label, left_at.get(label)) for label in labels if label != look.leader]
    undecided = _open(remaining, look.leader, group)
    return Standing(
        leader=look.leader,
        leads=tuple(
            sorted((lead for lead in leads if lead is not None), key=lambda lead: (lead.is_decided, lead.mean))
        ),
        remaining=tuple(remaining),
        more_seeds=_more_seeds([look.lead(label) for label in undecided], len(look.seeds)),
    )


def plan_next(
    rewards: Rewards,
    seeds: Sequence[int],
    looks: Sequence[int],
    proposed: Collection[tuple[str, int]],
    group: Collection[str] = (),
) -> list[tuple[str, int]]:
    """Labels and seeds of the trainings that follow when all that were proposed have ended; none when the race is over.

    Args:
        rewards: all that is measured.
        seeds: all that the race may have, in their order.
        looks: after how many of them it is looked at.
        proposed: label and seed of every training that there is. Those of one look may be proposed in several parts.
        group: as of `judge`.
    """
    for used, following in itertools.pairwise(looks):
        standing = judge(rewards, seeds[:used], looks, group)
        if standing is None or standing.is_decided:
            break
        wanted = itertools.product(seeds[used:following], standing.remaining)
        if missing := [(label, seed) for seed, label in wanted if (label, seed) not in proposed]:
            return missing
    return []


class _Look:
    """All pairs of the K entrants that are in the race, over some seeds."""

    def __init__(self, rewards: Rewards, labels: Sequence[str], seeds: Sequence[int], level: float) -> None:
        self.seeds = seeds
        self._place, self._level = {label: place for place, label in enumerate(labels)}, level
        table = np.array([[rewards[label].get(seed, np.nan) for seed in seeds] for label in labels])
        differences = table[:, None] - table  # [K, K, seeds], NaN where one of the two has no reward
        counts = np.isfinite(differences).sum(axis=2)
        self._counts = counts
        self._means = np.nansum(differences, axis=2) / np.maximum(counts, 1)
        squares = np.nansum((differences - self._means[:, :, None]) ** 2, axis=2)
        self._variances = squares / np.maximum(counts - 1, 1)
        self._is_steady = _find_steady(self._variances, len(seeds))
        self._of_steady = self._pool(table, self._is_steady)
        self._of_all = self._pool(table, np.ones(len(labels), dtype=bool))
        others = (counts > 0) & ~np.eye(len(labels), dtype=bool)
        mean_leads = np.where(others, self._means, 0).sum(axis=1) / np.maximum(others.sum(axis=1), 1)
        self.leader = labels[int(np.argmax(np.where(others.any(axis=1), mean_leads, -np.inf)))]

    def _pool(self, table: np.ndarray, chosen: np.ndarray) -> tuple[float, int]:
        """Variance of a difference between two of the chosen losses, and its degrees of freedom."""
        pairs = np.outer(chosen, chosen) & ~np.eye(len(chosen), dtype=bool)
        weights = np.maximum(self._counts - 1, 0) * pairs
        known = np.isfinite(table[chosen])
        freedom = int(known.sum() - known.any(axis=1).sum() - known.any(axis=0).sum()) + 1
        return float((weights * self._variances).sum() / max(weights.sum(), 1)), max(freedom, 1)

    def lead(self, label: str, leader: str = "") -> tuple[float, tuple[float, float] | None, int]:
        """Mean difference, interval and number of common seeds of a leader (by default this look's) and another."""
        pair = self._place[leader or self.leader], self._place[label]
        count = int(self._counts[pair])
        if not count:
            return math.nan, None, 0
        mean = float(self._means[pair])
        if count < 2:
            return mean, None, count
        pooled, freedom = self._of_steady if self._is_steady[list(pair)].all() else self._of_all
        variance = max(pooled, float(self._variances[pair]))
        reach = float(-stdtrit(freedom, self._level)) * math.sqrt(variance / count)
        return mean, (mean - reach, mean + reach), count


def _find_steady(variances: np.ndarray, seeds: int) -> np.ndarray:
    """Which of K losses do not vary far more than the others, [K], by the variances of the pairs, [K, K].

    The median over its pairs tells how much a loss varies, whatever a few of the others do. With fewer than four losses
    one is in half of another's pairs, and two seeds are a pair's variance by one degree of freedom.
    """
    count = len(variances)
    if count < 4 or seeds < 3:
        return np.ones(count, dtype=bool)
    typical = np.median(variances[~np.eye(count, dtype=bool)].reshape(count, count - 1), axis=1)
    return np.asarray(typical <= _UNSTEADY * np.median(typical))


def level(entrants: int, looks: Sequence[int]) -> float:
    """Of one side of one interval. A look at one seed has no interval and spends nothing."""
    pairs, spending = math.comb(entrants, 2), sum(count > 1 for count in looks)
    return WRONG_VERDICTS / 2 / max(pairs, 1) / max(spending, 1)


def _lead(look: _Look, label: str, left_at: _Look | None) -> Lead | None:
    """Over the common seeds at this look, or at the one at which the other left."""
    mean, interval, count = (left_at or look).lead(label, look.leader)
    return Lead(label, mean, interval, count, left_at.leader if left_at else None) if count else None


def _open(remaining: Sequence[str], leader: str, group: Collection[str]) -> list[str]:
    """Those that the leader still has to be told apart from."""
    return [label for label in remaining if label != leader and not (label in group and leader in group)]


def _is_above(interval: tuple[float, float] | None) -> bool:
    return interval is not None and interval[0] > 0


def _more_seeds(leads: Sequence[tuple[float, tuple[float, float] | None, int]], count: int) -> int | None:
    """The reach of an interval falls with the root of the number of seeds, and must come below the difference."""
    needed = []
    for mean, interval, seeds in leads:
        if interval is None or mean <= 0:
            return None
        needed.append(seeds * ((interval[1] - mean) / mean) ** 2)
    return max(math.ceil(max(needed, default=0.0)) - count, 1) if needed else 0
