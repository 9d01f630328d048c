"""Which parameters a search ends with, and how well they are known.

The reward of the best trial is high partly because that trial was lucky: it is the largest of hundreds of noisy
numbers. So the rewards of the search only nominate. The mean of the last policy (what all trials together have taught)
and the best samples are trained again with seeds that the search has not used, the same ones for all, and only those
confirmations are compared. It is the mean of the truncated law and not its location mu: a knot near an end has its mass
on one side of mu, so mu is a point that no trial was near (on blood cells 14.2 AP, the mean 25.4; DECISIONS.md, 5).

The highest confirmed mean wins. Rules that keep the policy's mean unless a sample is clearly ahead were simulated too
and end within 0.05 AP of it (`benchmarks/search.py`): candidates within the noise of each other cost little either way.
So the simplest rule stays, which also finds a sample that is really better. At equal rewards the policy's mean wins,
for it comes first.

What is left of the bias: the mean of the winner among k candidates is still a little high, with 3 candidates by up to
0.85 of its standard error where they are equal, and less where they differ. More seeds shrink it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from paploss.controller.search.algorithm import Sample
from paploss.controller.search.space import Vector


@dataclass(frozen=True, eq=False)
class Candidate:
    """A theta [D] that is worth confirming: the algorithm's best guess, or a sample."""

    theta: Vector
    sample: int | None
    """Index into the samples given to `candidates`; none for the best guess."""


@dataclass(frozen=True)
class Choice:
    """The chosen candidate and what its confirmations say of its reward."""

    index: int
    """Into the confirmations given to `choose`."""
    mean: float
    standard_error: float | None
    """Of the mean; none for a single reward."""
    interval: tuple[float, float] | None
    """95 % Student interval of the mean; none for a single reward."""
    count: int
    """Rewards behind the mean."""


def candidates(best_guess: Vector, samples: Sequence[Sample[Any]], count: int) -> list[Candidate]:
    """The algorithm's best guess and the count - 1 samples of highest reward, the earlier first among equals.

    Raises ValueError where count is below 1.
    """
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    best = sorted(range(len(samples)), key=lambda index: -samples[index].reward)[: count - 1]
    return [Candidate(best_guess, None), *(Candidate(samples[index].theta, index) for index in best)]


def choose(confirmations: Sequence[Mapping[int, float]]) -> Choice:
    """The candidate with the highest mean over its confirmations (seed -> reward), the first among equals.

    A candidate that lost a confirmation to a failure is set aside while another has more of them: a mean over fewer
    seeds is not comparable.

    Raises ValueError where there is no reward at all or one is not finite.
    """
    for index, rewards in enumerate(confirmations):
        for seed, reward in rewards.items():
            if not np.isfinite(reward):
                raise ValueError(f"confirmations[{index}][{seed}]: expected a finite number, got {reward}")
    count = max(map(len, confirmations), default=0)
    if count == 0:
        raise ValueError("confirmations: expected at least one reward, got none")
    means = [float(np.mean(list(rewards.values()))) if len(rewards) == count else -np.inf for rewards in confirmations]
    return describe(confirmations, means.index(max(means)))


def describe(confirmations: Sequence[Mapping[int, float]], index: int) -> Choice:
    """The candidate at `index`, which has a reward, as the choice."""
    rewards = list(confirmations[index].values())
    count = len(rewards)
    error = float(np.std(rewards, ddof=1)) / math.sqrt(count) if count > 1 else None
    return Choice(index, float(np.mean(rewards)), error, mean_interval(rewards), count)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of independent values, by Student's t; None for fewer than two."""
    count = len(values)
    if count < 2:
        return None
    reach = stdtrit(count - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(count)
    mean = np.mean(values)
    return float(mean - reach), float(mean + reach)
