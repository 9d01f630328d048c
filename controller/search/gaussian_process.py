"""A Gaussian process over grouped features, with an effect for each training seed and each level of rewards.

symbol  meaning                                                                                   shape
X       features of the trainings                                                                 [n, F]
y       their rewards, standardised                                                               [n]
d_g     squared distance of two rows in group g, in units of the group's median                   [n, n]
k       s m(sum_g d_g / l_g^2) + b <x, x'> + e [same seed] + [same level]; m: Matern 5/2          [n, n]
v       variance of the noise of a training at level 0                                            scalar

Level 0 is what the model predicts. Rewards of another level, those of an earlier search for instance, differ from it by
a constant that nothing is known of (its spread is that of all rewards) and are noisier by a given factor.

l_g, s, b, e and v are the most probable ones under log-normal priors. The prior of l_g is centred on the square root of
the number of groups, so that the distance over all groups is about 1 whatever their number (Hvarfner et al., 2024).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

Matrix = NDArray[np.float64]

_SCALE, _NOISE, _LINEAR, _SEED = range(4)  # places in the logarithms behind the length scales
_PRIOR_MEANS = np.log([0.5, 0.3, 0.3, 0.1])
_PRIOR_SPREADS = np.array([1.0, 0.7, 1.0, 1.0])
_LENGTH_SPREAD = 0.7
_LEVEL = 1.0
_JITTER = 1e-6
_MOST_STEPS = 25


@dataclass(frozen=True, eq=False)
class Trainings:
    """What a model learns from."""

    rows: Matrix
    """Features [n, F]."""
    rewards: NDArray[np.float64]
    """[n]."""
    seeds: NDArray[np.int64]
    """[n]; equal ones share an effect."""
    levels: NDArray[np.int64]
    """[n]; 0 is what is predicted."""
    noises: NDArray[np.float64]
    """[n]: factors on the variance of the noise."""


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """A fitted model; `predict` leaves the effects of seeds and levels out."""

    groups: NDArray[np.intp]
    rows: Matrix
    units: NDArray[np.float64]
    linear_unit: float
    offset: float
    spread: float
    hyper: NDArray[np.float64]
    """Logarithms: l_g of each group, then s, v, b, e."""
    root: Matrix
    """Lower Cholesky factor [n, n]."""
    weights: NDArray[np.float64]

    @property
    def noise(self) -> float:
        """Variance of a training's noise, in squared units of the rewards."""
        return float(self.spread**2 * np.exp(self.hyper[self._behind + _NOISE]))

    @property
    def _behind(self) -> int:
        return len(self.units)

    def mean(self, rows: Matrix) -> NDArray[np.float64]:
        """Posterior mean [m] at rows [m, F]."""
        return np.asarray(self.offset + self.spread * (self._prior(rows, self.rows) @ self.weights))

    def predict(self, rows: Matrix) -> tuple[NDArray[np.float64], Matrix]:
        """Posterior mean [m] and covariance [m, m] at rows [m, F]."""
        cross = self._prior(rows, self.rows)
        explained = solve_triangular(self.root, cross.T, lower=True)
        covariance = self._prior(rows, rows) - explained.T @ explained
        return self.offset + self.spread * (cross @ self.weights), self.spread**2 * covariance

    def _prior(self, a: Matrix, b: Matrix) -> Matrix:
        distances = _squared_distances(a, b, self.groups) / self.units[:, None, None]
        centre = self.rows.mean(axis=0)
        return _kernel(distances, (a - centre) @ (b - centre).T / self.linear_unit, self.hyper)


def fit(trainings: Trainings, groups: NDArray[np.intp], most_fitted: int) -> GaussianProcess:
    """The model of some trainings; groups [F]. Hyperparameters from `most_fitted` of them."""
    rows, levels = trainings.rows, trainings.levels
    y, offset, spread = _standardise(trainings.rewards, levels)
    distances = _squared_distances(rows, rows, groups)
    upper = np.triu_indices(len(rows), 1)
    units = np.maximum(np.median(distances[:, upper[0], upper[1]], axis=1), 1e-9)
    distances /= units[:, None, None]
    centred = rows - rows.mean(axis=0)
    linear_unit = max(float((centred**2).sum(axis=1).mean()), 1e-9)
    linear = centred @ centred.T / linear_unit
    same_seed = (trainings.seeds[:, None] == trainings.seeds).astype(np.float64)
    level = _LEVEL * ((levels[:, None] == levels) & (levels != 0))
    some = np.unique(np.linspace(0, len(rows) - 1, min(most_fitted, len(rows))).round().astype(int))
    pairs = np.ix_(some, some)
    known = _Known(
        distances[:, some[:, None], some], linear[pairs], same_seed[pairs], level[pairs], trainings.noises[some]
    )
    hyper = _most_probable(known, y[some])
    known = _Known(distances, linear, same_seed, level, trainings.noises)
    root = np.asarray(np.linalg.cholesky(known.observed(known.kernel(hyper), hyper)), dtype=np.float64)
    weights = np.asarray(cho_solve((root, True), y), dtype=np.float64)
    return GaussianProcess(groups, rows, units, linear_unit, offset, spread, hyper, root, weights)


def _standardise(rewards: NDArray[np.float64], levels: NDArray[np.int64]) -> tuple[NDArray[np.float64], float, float]:
    """Rewards [n] about the mean of their level in units of their spread, the mean of level 0, and that spread."""
    present = np.unique(levels)
    means = np.array([rewards[levels == level].mean() for level in present])
    away = rewards - means[np.searchsorted(present, levels)]
    spread = max(float(away.std()), 1e-6)
    return away / spread, float(means[0]), spread


def _squared_distances(a: Matrix, b: Matrix, groups: NDArray[np.intp]) -> Matrix:
    """[G, n, m]."""
    found = np.empty((groups.max() + 1, len(a), len(b)))
    for group in range(len(found)):
        x, z = a[:, groups == group], b[:, groups == group]
        found[group] = np.maximum((x * x).sum(axis=1)[:, None] + (z * z).sum(axis=1) - 2 * x @ z.T, 0)
    return found


def _matern(distances: Matrix, hyper: NDArray[np.float64]) -> tuple[Matrix, Matrix]:
    """Matern 5/2 and its derivative in the squared distance."""
    r = np.sqrt(5 * np.tensordot(np.exp(-2 * hyper[: len(distances)]), distances, 1) + 1e-12)
    decay = np.exp(-r)
    return (1 + r + r * r / 3) * decay, -5 / 6 * (1 + r) * decay


def _kernel(distances: Matrix, linear: Matrix, hyper: NDArray[np.float64]) -> Matrix:
    """Of the function itself, without effects and noise."""
    scale, _, slope, _ = np.exp(hyper[len(distances) :])
    return np.asarray(scale * _matern(distances, hyper)[0] + slope * linear)


@dataclass(frozen=True, eq=False)
class _Known:
    """What of the covariance does not change with the hyperparameters."""

    distances: Matrix
    linear: Matrix
    same_seed: Matrix
    level: Matrix
    noises: NDArray[np.float64]

    def kernel(self, hyper: NDArray[np.float64]) -> Matrix:
        return _kernel(self.distances, self.linear, hyper)

    def observed(self, kernel: Matrix, hyper: NDArray[np.float64]) -> Matrix:
        """The covariance of rewards: with effects and noise."""
        _, noise, _, effect = np.exp(hyper[len(self.distances) :])
        diagonal = noise * self.noises + _JITTER
        return np.asarray(kernel + effect * self.same_seed + self.level + np.diag(diagonal))


def _most_probable(known: _Known, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithms of the most probable hyperparameters, from the centre of the prior on."""
    distances, linear = known.distances, known.linear
    count = len(distances)
    means = np.concatenate([np.full(count, 0.5 * np.log(count)), _PRIOR_MEANS])
    spreads = np.concatenate([np.full(count, _LENGTH_SPREAD), _PRIOR_SPREADS])

    def loss(hyper: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Negative log of posterior density and its gradient."""
        scale, noise, slope, effect = np.exp(hyper[count:])
        matern, derivative = _matern(distances, hyper)
        root = np.linalg.cholesky(known.observed(scale * matern + slope * linear, hyper))
        weights = cho_solve((root, True), y)
        inverse = cho_solve((root, True), np.eye(len(y)))
        half = 0.5 * (inverse - np.outer(weights, weights))
        by_distance = scale * half * derivative
        gradient = np.empty_like(hyper)
        gradient[:count] = -2 * np.exp(-2 * hyper[:count]) * np.tensordot(distances, by_distance, 2)
        gradient[count + _SCALE] = scale * (half * matern).sum()
        gradient[count + _NOISE] = noise * np.diag(half) @ known.noises
        gradient[count + _LINEAR] = slope * (half * linear).sum()
        gradient[count + _SEED] = effect * (half * known.same_seed).sum()
        away = (hyper - means) / spreads
        value = 0.5 * y @ weights + np.log(np.diag(root)).sum() + 0.5 * away @ away
        return float(value), gradient + away / spreads

    bounds = [(-3.0, 4.0)] * count + [(-5.0, 3.0), (-5.0, 2.0), (-5.0, 3.0), (-7.0, 2.0)]
    found = minimize(loss, means, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _MOST_STEPS})
    return np.asarray(found.x)
