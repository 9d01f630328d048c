"""Which parameters a search ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from controller.search.algorithm import Sample
from controller.search.policy import PolicyState, Vector


@dataclass(frozen=True, eq=False)
class Candidate:
    """A theta [D] that is worth confirming: the policy's last mu, or a sample by its index."""

    theta: Vector
    sample: int | None
    """Index into the samples given to `candidates`; none for mu."""


@dataclass(frozen=True)
class Choice:
    """The chosen candidate (index into the confirmations) and what is known of its reward."""

    index: int
    mean: float
    standard_error: float | None
    """Of the mean; none for a single reward."""
    interval: tuple[float, float] | None
    """95 % Student interval of the mean."""
    count: int


def candidates(state: PolicyState, samples: Sequence[Sample], count: int) -> list[Candidate]:
    """The policy's last mu and the count - 1 samples of highest reward, the earlier first among equals."""
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    best = sorted(range(len(samples)), key=lambda index: -samples[index].reward)[: count - 1]
    return [Candidate(state.mu, None), *(Candidate(samples[index].theta, index) for index in best)]


def choose(confirmations: Sequence[Mapping[int, float]]) -> Choice:
    """The candidate with the highest mean over its confirmations (seed -> reward), the first among equals."""
    means = [float(np.mean(list(rewards.values()))) if rewards else -np.inf for rewards in confirmations]
    if not means or max(means) == -np.inf:
        raise ValueError("confirmations: expected at least one reward, got none")
    index = means.index(max(means))
    rewards = list(confirmations[index].values())
    count = len(rewards)
    if count < 2:
        return Choice(index, means[index], None, None, count)
    error = float(np.std(rewards, ddof=1)) / count**0.5
    reach = float(student_t.ppf(0.975, count - 1)) * error
    return Choice(index, means[index], error, (means[index] - reach, means[index] + reach), count)
