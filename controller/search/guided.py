"""The default search: a model of the reward over what a loss does proposes each trial as a slot becomes free.

The first trials are given ones (the identity, the published set) and samples around the start. Then each proposal is
the best of a cloud of candidates, by the model's mean and half of a random deviation that the model holds possible.

symbol      meaning                                                                                     shape
y           rewards in percent, those far below the median raised to a floor                            [n]
m           the model's mean at the trials that it learns from                                          [n]
centres     centroids of the trials of highest m, weighted by the logarithm of their rank               [2, D]

- The floor: how hopeless a hopeless loss is says nothing of where the good ones are. A training that was stopped early
  enters at the floor as well.
- Candidates lie around centroids, not around the best trial: those are better than any single trial (the noise averages
  out), and the model is not asked about places far from all trials, where it is wrong (DECISIONS.md, 66).
- Trials of earlier searches stand beside those of this one at a level of their own, with three times the noise. With
  them there is a model from the first trial on: the given ones are followed by its best guess, and no trials around the
  start are needed.
- Trainings of a shorter length, where the search has such, stand at a level of their own, too: what they lack to the
  end is an offset, and their noise grows as they get shorter. Predicted is the reward of whole trainings.
- Trials under way count as if their rewards were the model's mean: the deviations are then small beside them, and the
  next proposal goes elsewhere.

Everything follows from (seed, version, index) and the history, so the state is only a version. A fit is a function of
the finished trials; it is remembered for the proposals that share them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from paploss.controller.search.algorithm import NOTHING_KNOWN, History, Sample
from paploss.controller.search.features import features_of
from paploss.controller.search.gaussian_process import GaussianProcess, Trainings, fit
from paploss.controller.search.history_search import HistorySearch
from paploss.controller.search.policy import PolicyState, sample
from paploss.controller.search.screen import passes
from paploss.controller.search.space import Space, Vector
from paploss.controller.search.version_state import VersionState

# On the simulated landscapes no other value of the next five is measurably better; smaller steps or no random deviation
# are worse by 0.3 to 0.7 AP (benchmarks/guided.py).
_FIRST_TRIALS = 16
_ELITES = (16, 24)
_CANDIDATES = 150
_MOVED_SHARES = (0.25, 0.5, 1.0, 1.0)
_BOLDNESS = 0.5
_LEAST_FINISHED = 8
_LEAST_CANDIDATES = 20
_MOST_ROWS = 300
_MOST_FITTED = 150
_EARLIER_NOISE = 3.0
_STEPS = 5  # sets its generator apart from the others


@dataclass(frozen=True, eq=False)
class _Model:
    """What the finished trials teach."""

    process: GaussianProcess
    thetas: NDArray[np.float64]
    """[n, D], by the model's mean from the best on, each once."""


@dataclass(frozen=True)
class Guided(HistorySearch):
    """Model-based search over `rounds` updates; for `round` and `stream` mode.

    `starts`: thetas that are among the first trials, after the identity. `earlier`: finished trials of earlier searches
    in the same space.
    """

    rounds: int = 40
    first_sigma: float = 0.2
    last_sigma: float = 0.1
    starts: tuple[tuple[float, ...], ...] = ()
    earlier: tuple[tuple[Sample[Any], ...], ...] = ()

    def initial_state(self, space: Space) -> VersionState:
        for theta in self.starts:
            space.check(theta)
        return VersionState(0, space)

    def propose(
        self, state: VersionState, seed: int, index: int, history: History = NOTHING_KNOWN, *, screened: bool = False
    ) -> Vector:
        space = state.space
        given = [*map(np.asarray, self.starts)] if self.earlier else [space.start(), *map(np.asarray, self.starts)]
        if history.proposed < len(given):
            return np.array(given[history.proposed], dtype=np.float64)
        if self.earlier and history.proposed == len(given):
            return self.best_guess(state)
        if not self._is_taught(history) or (history.proposed < _FIRST_TRIALS and not self.earlier):
            return sample(PolicyState(state.version, space.start(), self.first_sigma), seed, index)
        model = _learn(space, history.finished, self.earlier)
        generator = np.random.default_rng((seed, state.version, index, _STEPS))
        thetas = self._candidates(state, model, generator)
        if screened and (passing := passes(space, thetas)).sum() > _LEAST_CANDIDATES:
            thetas = thetas[passing]
        appeal = _appeal(space, model.process, thetas, history.pending, generator)
        return np.asarray(thetas[int(np.argmax(appeal))])

    def best_guess(self, state: VersionState, history: History = NOTHING_KNOWN) -> Vector:
        """The wider centroid: where the model holds the good losses to be."""
        if not self._is_taught(history):
            known = (*history.finished, *(sample for samples in self.earlier for sample in samples))
            best = max(known, key=lambda each: (each.length, each.reward), default=None)
            return state.space.start() if best is None else best.theta
        return _centroid(_learn(state.space, history.finished, self.earlier).thetas, _ELITES[-1])

    def _is_taught(self, history: History) -> bool:
        return len(history.finished) + sum(map(len, self.earlier)) >= _LEAST_FINISHED

    def _candidates(self, state: VersionState, model: _Model, generator: np.random.Generator) -> NDArray[np.float64]:
        """[c, D]: steps from the centres in some of the dimensions, reflected at the ends."""
        centres = np.stack([_centroid(model.thetas, elite) for elite in _ELITES])
        shape = (_CANDIDATES, state.space.dimension)
        share = min(state.version / max(self.rounds - 1, 1), 1.0)
        sigma = self.first_sigma + share * (self.last_sigma - self.first_sigma)
        moved = generator.random(shape) < generator.choice(_MOVED_SHARES, size=(_CANDIDATES, 1))
        steps = np.where(moved, sigma * generator.normal(size=shape), 0.0)
        thetas = np.abs(centres[generator.integers(len(centres), size=_CANDIDATES)] + steps)
        return np.asarray(np.where(thetas > 1, 2 - thetas, thetas).clip(0, 1))


@dataclass(frozen=True, eq=False)
class _Group:
    """Trials whose rewards are of one kind: those of an earlier search, or those of one length in this one."""

    search: int
    """0: this one."""
    noise: float
    """Variance of the noise, in that of a whole training of this search."""
    samples: Sequence[Sample[Any]]


@lru_cache(maxsize=4)
def _learn(space: Space, finished: tuple[Sample[Any], ...], earlier: tuple[tuple[Sample[Any], ...], ...]) -> _Model:
    """The model of the finished trials: of the best and the newest ones, where there are very many."""
    groups = [*_by_length(_choose_rows(finished))]
    groups += [_Group(search, _EARLIER_NOISE, kept) for search, kept in enumerate(earlier, start=1)]
    kept = [(level, group, each) for level, group in enumerate(groups) for each in group.samples]
    features = features_of(space)
    origins = [[group.search for _, group, _ in kept], [each.seed for _, _, each in kept]]
    trainings = Trainings(
        rows=features(np.stack([each.theta for _, _, each in kept])),
        rewards=np.concatenate([_raise_to_floor(group.samples) for group in groups if group.samples]),
        seeds=np.unique(origins, axis=1, return_inverse=True)[1].reshape(-1),
        levels=np.array([level for level, _, _ in kept]),
        noises=np.array([group.noise for _, group, _ in kept]),
    )
    process = fit(trainings, features.groups, _MOST_FITTED)
    order = np.argsort(-process.mean(process.rows), kind="stable")
    thetas = {kept[place][2].theta.tobytes(): kept[place][2].theta for place in order}
    return _Model(process, np.stack(list(thetas.values())))


def _by_length(samples: Sequence[Sample[Any]]) -> Iterator[_Group]:
    """The whole trainings first, whatever there is of them; a shorter one has the more noise."""
    for length in sorted({1.0, *(each.length for each in samples)}, reverse=True):
        yield _Group(0, 1 / length, [each for each in samples if each.length == length])


def _choose_rows(finished: Sequence[Sample[Any]]) -> list[Sample[Any]]:
    if len(finished) <= _MOST_ROWS:
        return list(finished)
    newest = set(range(len(finished) - _MOST_ROWS // 2, len(finished)))
    by_reward = sorted(set(range(len(finished))) - newest, key=lambda place: -finished[place].reward)
    return [finished[place] for place in sorted(newest.union(by_reward[: _MOST_ROWS - len(newest)]))]


def _raise_to_floor(samples: Sequence[Sample[Any]]) -> NDArray[np.float64]:
    """Rewards in percent, [n]."""
    rewards = 100 * np.array([each.reward for each in samples])
    median = np.median(rewards)
    floor = median - 2.5 * max(float(np.quantile(rewards, 0.9) - median), 1.0)
    complete = np.array([each.complete for each in samples])
    return np.asarray(np.where(complete, np.maximum(rewards, floor), floor))


def _centroid(thetas: NDArray[np.float64], count: int) -> Vector:
    """[D] of the first `count` of thetas [n, D], but of a third of them at most."""
    count = max(min(count, len(thetas) // 3), 1)
    weights = np.log(count + 0.5) - np.log(np.arange(1, count + 1))
    return np.asarray(weights @ thetas[:count] / weights.sum())


def _appeal(
    space: Space,
    process: GaussianProcess,
    thetas: NDArray[np.float64],
    pending: Sequence[Vector],
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """The mean of each candidate [c, D] and a part of a random deviation from it, [c]."""
    count = len(pending)
    mean, covariance = process.predict(features_of(space)(np.stack([*pending, *thetas])))
    spread = covariance[count:, count:]
    if count:
        awaited = cho_factor(covariance[:count, :count] + process.noise * np.eye(count), lower=True)
        spread = spread - covariance[count:, :count] @ cho_solve(awaited, covariance[:count, count:])
    jitter = 1e-5 * np.trace(spread) / len(spread) * np.eye(len(spread))
    deviation = np.linalg.cholesky(spread + jitter) @ generator.normal(size=len(spread))
    return np.asarray(mean[count:] + _BOLDNESS * deviation)
