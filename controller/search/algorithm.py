"""What a search algorithm is, and what it owes the platform."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from paploss.controller.search.policy import PolicyState, Vector
from paploss.controller.search.space import Space


@dataclass(frozen=True, eq=False)
class Sample:
    """A finished trial: theta [D], its reward (AP, higher is better), and the policy that proposed it."""

    theta: Vector
    reward: float
    proposed_by: PolicyState


class Algorithm(Protocol):
    """A search algorithm: its settings, and three pure functions over an immutable state.

    Obligations
    - No function keeps anything between calls, reads a clock, or draws from a global generator: equal arguments give
      equal results on every machine, so a controller killed at any instruction computes the same thing again.
    - The state holds everything that the next call needs, and survives JSON unchanged.
    - `propose` may be called for any index, in any order, from any process; its theta lies in [0, 1]^D.
    - `update` moves the version on by exactly 1 and does not depend on the order in which rewards arrived, beyond
      rounding. It never changes its arguments.
    """

    @property
    def name(self) -> str: ...

    def initial_state(self, space: Space) -> PolicyState:
        """The state of version 0."""
        ...

    def propose(self, state: PolicyState, seed: int, index: int) -> Vector:
        """The theta [D] of trial `index`, fixed by (seed, state.version, index)."""
        ...

    def update(self, state: PolicyState, samples: Sequence[Sample]) -> PolicyState:
        """The next state, learnt from finished trials.

        In `round` mode all samples were proposed by `state`; in `stream` mode by it or by earlier versions.

        Raises ValueError where fewer than 2 samples are given (proposing replacements is the caller's part), a reward
        is not finite, a theta has the wrong shape, or a sample was proposed by a later version than `state`.
        """
        ...


def check_samples(state: PolicyState, samples: Sequence[Sample]) -> None:
    """Raises ValueError as `Algorithm.update` promises."""
    if len(samples) < 2:
        raise ValueError(f"samples: an update needs at least 2 rewards, got {len(samples)}")
    for index, sample in enumerate(samples):
        if not np.isfinite(sample.reward):
            raise ValueError(f"samples[{index}].reward: expected a finite number, got {sample.reward}")
        if sample.theta.shape != state.mu.shape:
            raise ValueError(f"samples[{index}].theta: expected shape {state.mu.shape}, got {sample.theta.shape}")
        if sample.proposed_by.version > state.version:
            raise ValueError(
                f"samples[{index}].proposed_by: expected a version up to {state.version}, "
                f"got {sample.proposed_by.version}"
            )


def advantages(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Reward minus mean, [n]; exactly 0 for equal rewards, from which their rounded mean may differ in the last bit."""
    rewards = np.array([sample.reward for sample in samples])
    return np.zeros_like(rewards) if np.ptp(rewards) == 0 else rewards - rewards.mean()
