"""What a search algorithm is, and what it owes the platform."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from paploss.controller.search.space import Space, Vector


class State(Protocol):
    """What an algorithm knows after so many updates. Immutable."""

    @property
    def version(self) -> int:
        """Updates done; 0 at the start."""
        ...


StateT = TypeVar("StateT", bound=State)


@dataclass(frozen=True, eq=False)
class Sample(Generic[StateT]):
    """A finished trial: theta [D], its reward (higher is better), and the state that proposed it.

    `proposed_by` is none where no state of this search did, e.g. for a published parameter set, and in a `History`.
    """

    theta: Vector
    reward: float
    proposed_by: StateT | None
    seed: int = 0
    """Of the training."""
    complete: bool = True
    """False where the training was stopped early: its reward says only that it did badly."""
    consumed_by: int | None = None
    """The version whose update made use of it; none before."""
    length: float = 1.0
    """Share of its schedule that was trained; the reward of a whole training is what a search maximises."""


@dataclass(frozen=True, eq=False)
class History:
    """What a search knew at one moment: a function of the version then and the number of the trial to come.

    A reward counts from the update that consumed it on, not from the moment at which it arrived. So the rows of a
    search tell afterwards, and after a restart, exactly what was known.
    """

    finished: tuple[Sample[Any], ...] = ()
    """Consumed by an earlier update, in the order of their updates and numbers."""
    pending: tuple[Vector, ...] = ()
    """Theta [D] of each trial that was proposed and that no update has consumed, in the order of their numbers."""
    proposed: int = 0
    """Losses proposed before, failed ones included: the number of the next one, whatever was promoted since."""


NOTHING_KNOWN = History()


@dataclass(frozen=True, eq=False)
class Distribution:
    """Where an algorithm proposes from, for drawing."""

    centre: Vector
    """[D] in [0, 1]."""
    spread: float
    """Scale in the same units, above 0."""


class Algorithm(Protocol[StateT]):
    """A search algorithm: pure functions over an immutable state of its own.

    Obligations
    - No function keeps anything between calls, reads a clock, or draws from a global generator: equal arguments give
      equal results on every machine, so a controller killed at any instruction computes the same thing again.
    - The state and, where `reads_history` says so, the history hold everything that the next call needs.
      `load(dump(state))` is exact, also through JSON, and `load` reads what earlier versions of the program dumped.
    - `propose` may be called for any index, in any order, from any process; its theta lies in [0, 1]^D.
    - `update` moves the version on by exactly 1 and does not depend on the order in which rewards arrived, beyond
      rounding. It never changes its arguments.
    - Where `reads_history` is false, the caller need not load the history for `propose` and may give none.
    """

    @property
    def reads_history(self) -> bool:
        """Whether it proposes from the whole history. This may take long, and is done outside transactions."""
        ...

    @property
    def training_seeds(self) -> int | None:
        """How many seeds its trials take turns with; none: one for each version."""
        ...

    def initial_state(self, space: Space) -> StateT:
        """The state of version 0."""
        ...

    def propose(
        self, state: StateT, seed: int, index: int, history: History = NOTHING_KNOWN, *, screened: bool = False
    ) -> Vector:
        """The theta [D] of trial `index`, fixed by (seed, state.version, index), the history and `screened`.

        `screened`: the caller draws again what `paploss.controller.search.screen` rejects, so one that chooses among
        candidates leaves such losses out. Otherwise it must not: some proposals put the screen to the test.
        """
        ...

    def update(self, state: StateT, samples: Sequence[Sample[StateT]]) -> StateT:
        """The next state, learnt from finished trials.

        In `round` mode all samples were proposed by `state`; in `stream` mode by it or by earlier states.

        Raises ValueError where fewer than 2 samples are given (proposing replacements is the caller's part), a reward
        is not finite, a theta has the wrong shape, or a sample was proposed by a later version than `state`.
        """
        ...

    def best_guess(self, state: StateT, history: History = NOTHING_KNOWN) -> Vector:
        """The theta [D] that is taken for the best, a candidate for the final parameters."""
        ...

    def distribution(self, state: StateT) -> Distribution | None:
        """Where the state proposes from; none for an algorithm whose state alone does not tell."""
        ...

    def dump(self, state: StateT) -> dict[str, Any]:
        """The state as JSON."""
        ...

    def load(self, document: dict[str, Any]) -> StateT:
        """The state that `dump` gave.

        Raises ValueError, KeyError or TypeError where the document is not one of this algorithm.
        """
        ...


def check_samples(state: State, size: int, samples: Sequence[Sample[Any]]) -> None:
    """Raises ValueError as `Algorithm.update` promises; `size`: D."""
    if len(samples) < 2:
        raise ValueError(f"samples: an update needs at least 2 rewards, got {len(samples)}")
    for index, sample in enumerate(samples):
        if not np.isfinite(sample.reward):
            raise ValueError(f"samples[{index}].reward: expected a finite number, got {sample.reward}")
        if sample.theta.shape != (size,):
            raise ValueError(f"samples[{index}].theta: expected shape {(size,)}, got {sample.theta.shape}")
        if sample.proposed_by is not None and sample.proposed_by.version > state.version:
            raise ValueError(
                f"samples[{index}].proposed_by: expected a version up to {state.version}, "
                f"got {sample.proposed_by.version}"
            )


def advantages(samples: Sequence[Sample[Any]]) -> NDArray[np.float64]:
    """Reward minus mean, [n]; exactly 0 for equal rewards, from which their rounded mean may differ in the last bit."""
    rewards = np.array([sample.reward for sample in samples])
    return np.zeros_like(rewards) if np.ptp(rewards) == 0 else rewards - rewards.mean()
