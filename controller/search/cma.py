"""CMA-ES, by the library `cmaes`: a normal whose covariance is learnt, for comparison.

The library's object is told of the finished trials in their order, a population at a time: the history says everything,
and what is asked of it follows from (seed, version, index). It is remembered for the proposals that share them.

Source: Hansen, "The CMA Evolution Strategy: A Tutorial", 2016.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from paploss.controller.search.algorithm import NOTHING_KNOWN, History, Sample
from paploss.controller.search.history_search import HistorySearch
from paploss.controller.search.space import Space, Vector
from paploss.controller.search.version_state import VersionState

if TYPE_CHECKING:  # it imports scipy.stats, a second of every start: only who searches with it pays
    from cmaes import CMA


@dataclass(frozen=True)
class Cma(HistorySearch):
    """CMA-ES from the identity; for `round` and `stream` mode, where a population is any finished trials."""

    population: int = 8
    sigma: float = 0.2

    def initial_state(self, space: Space) -> VersionState:
        return VersionState(0, space)

    def propose(
        self,
        state: VersionState,
        seed: int,
        index: int,
        history: History = NOTHING_KNOWN,
        *,
        screened: bool = False,  # noqa: ARG002
    ) -> Vector:
        strategy = _told(state.space, history.finished, self.population, self.sigma)
        strategy.reseed_rng(int(np.random.SeedSequence((seed, state.version, index)).generate_state(1)[0]))
        return np.asarray(strategy.ask().clip(0, 1), dtype=np.float64)

    def best_guess(self, state: VersionState, history: History = NOTHING_KNOWN) -> Vector:
        """The mean of the normal."""
        strategy = _told(state.space, history.finished, self.population, self.sigma)
        return np.asarray(strategy.mean.clip(0, 1), dtype=np.float64)


@lru_cache(maxsize=1)
def _told(space: Space, finished: tuple[Sample[Any], ...], population: int, sigma: float) -> "CMA":
    """The library's object after these trials; to ask it, seed it first: asking changes nothing else."""
    from cmaes import CMA  # noqa: PLC0415

    bounds = np.tile([0.0, 1.0], (space.dimension, 1))
    strategy = CMA(mean=space.start(), sigma=sigma, bounds=bounds, seed=0, population_size=population)
    for first in range(0, len(finished) - population + 1, population):
        generation = finished[first : first + population]
        strategy.tell([(sample.theta, -sample.reward) for sample in generation])
    return strategy
