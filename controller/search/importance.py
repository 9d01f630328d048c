"""Which dimensions of theta matter: two measures, one of what the search did, one of what the trials say.

symbol  meaning                                                                       shape
theta   the samples                                                                   [n, D]
R       their rewards                                                                 [n]
t       the policy version that proposed each                                         [n]
mu      locations of the policy versions, the first and the newest                    [D]
s       shift (mu_newest - mu_first) / sigma_first: how far the policy has moved       [D]
r       Spearman's rank correlation of theta_d and R within versions                  [D]

Within versions, because rewards rise and mu moves over a search: over all trials together, every dimension that has
drifted at all would correlate with the reward. So both are ranked among the trials of one version, the ranks are
centred, and their products are added up over the versions.

Neither shows that a dimension is causal by itself: knots of one function act together, and behind a coordinate that has
reached 1 the later ones do nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paploss.controller.search.space import Vector


@dataclass(frozen=True, eq=False)
class Importance:
    """Both measures of every dimension."""

    shift: Vector
    """[D], in units of the first sigma; its sign is the direction."""
    correlation: Vector
    """[D], in [-1, 1]; 0 where nothing could be ranked."""
    noise: float
    """Correlations of a dimension without influence stay within +- this in 95 % of cases; 1 for too few trials."""


def measure(
    theta: ArrayLike, rewards: ArrayLike, versions: ArrayLike, *, first: ArrayLike, newest: ArrayLike, sigma: float
) -> Importance:
    """Both measures.

    Args:
        theta: [n, D], the rewarded trials' samples.
        rewards: [n], AP as a fraction; ties share a rank.
        versions: [n], which policy version proposed each sample.
        first: [D], location of the first policy version.
        newest: [D], location of the newest one.
        sigma: scale of the first policy version, above 0.

    Raises:
        ValueError: the shapes do not fit, or sigma is not above 0.
    """
    start, end = np.asarray(first, dtype=np.float64), np.asarray(newest, dtype=np.float64)
    samples = np.asarray(theta, dtype=np.float64).reshape(-1, start.size)
    rewarded, version = np.asarray(rewards, dtype=np.float64), np.asarray(versions)
    if start.shape != end.shape or not len(samples) == rewarded.size == version.size:
        raise ValueError(
            f"expected theta [n, D], rewards [n], versions [n] and two locations [D], got {samples.shape}, "
            f"{rewarded.shape}, {version.shape}, {start.shape} and {end.shape}"
        )
    if not sigma > 0:
        raise ValueError(f"sigma: expected a number above 0, got {sigma}")
    correlation, freedom = _correlate(samples, rewarded, version)
    noise = min(1.0, 1.96 / np.sqrt(freedom)) if freedom > 0 else 1.0
    return Importance(shift=(end - start) / sigma, correlation=correlation, noise=float(noise))


def _correlate(theta: Vector, rewards: Vector, versions: NDArray[np.int64]) -> tuple[Vector, int]:
    """r [D], and how many ranks were free to vary."""
    products, spread, freedom = np.zeros(theta.shape[1]), np.zeros(theta.shape[1]), 0
    reward_spread = 0.0
    for version in np.unique(versions):
        chosen = versions == version
        if chosen.sum() < 2:
            continue
        # Divided by their number, so that a version counts by its trials and not by the square of them.
        ranks = np.apply_along_axis(_rank, 0, theta[chosen]) / chosen.sum()
        reward_ranks = _rank(rewards[chosen]) / chosen.sum()
        ranks -= ranks.mean(axis=0)
        reward_ranks -= reward_ranks.mean()
        products += reward_ranks @ ranks
        spread += (ranks**2).sum(axis=0)
        reward_spread += float((reward_ranks**2).sum())
        freedom += int(chosen.sum()) - 1
    scale = np.sqrt(spread * reward_spread)
    return np.divide(products, scale, out=np.zeros_like(products), where=scale > 0), freedom


def _rank(values: Vector) -> Vector:
    """Ranks from 1, where ties share the mean of theirs [n]. `scipy.stats` has it too, and takes a second to import."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])
