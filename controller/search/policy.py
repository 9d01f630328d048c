"""The search distribution: an independent normal truncated to [0, 1] in each dimension.

symbol  meaning                                                              shape
mu      location of the normal before it is truncated (not its mean after)   [D], in (0, 1)
sigma   scale of the normal before it is truncated                           scalar, above 0
m       logit of mu: the variable that the optimisers move                   [D]
Z       mass of the untruncated normal on [0, 1]                             [D]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import expit, ndtr, ndtri
from scipy.special import logit as scipy_logit

from paploss.controller.search.space import Vector

_LOG_SQRT_TWO_PI = 0.5 * np.log(2 * np.pi)
_LOCATION_MARGIN = 1e-9


@dataclass(frozen=True, eq=False)
class PolicyState:
    """The policy after `version` updates. Immutable; `to_json` and `from_json` are exact inverses.

    Raises ValueError where the version is negative, mu is not a vector in (0, 1)^D or sigma is not above 0.
    """

    version: int
    mu: Vector
    sigma: float

    def __post_init__(self) -> None:
        if self.version < 0:
            raise ValueError(f"version: expected 0 or more, got {self.version}")
        if self.mu.ndim != 1:
            raise ValueError(f"mu: expected shape (D,), got {self.mu.shape}")
        outside = np.flatnonzero(~((self.mu > 0) & (self.mu < 1)))  # also finds NaN
        if outside.size:
            index = int(outside[0])
            raise ValueError(f"mu[{index}]: expected a value between 0 and 1, got {self.mu[index]}")
        if not 0 < self.sigma < np.inf:
            raise ValueError(f"sigma: expected a finite number above 0, got {self.sigma}")

    def to_json(self) -> dict[str, Any]:
        return {"version": self.version, "mu": self.mu.tolist(), "sigma": self.sigma}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(int(data["version"]), np.asarray(data["mu"], dtype=np.float64), float(data["sigma"]))


def sample(state: PolicyState, seed: int, index: int) -> Vector:
    """One theta [D] of the policy, fixed by (seed, version, index): no generator state is kept anywhere."""
    generator = np.random.default_rng(np.random.SeedSequence((seed, state.version, index)))
    low, high = ndtr(-state.mu / state.sigma), ndtr((1 - state.mu) / state.sigma)
    quantile = low + generator.random(state.mu.shape) * (high - low)
    return np.asarray(np.clip(state.mu + state.sigma * ndtri(quantile), 0.0, 1.0), dtype=np.float64)


def log_density(theta: Vector, mu: Vector, sigma: Vector | float) -> Vector:
    """Log density [..., D] of theta [..., D] in [0, 1], for mu and sigma that broadcast with it."""
    density, _ = log_density_and_slope(theta, mu, sigma)
    return density


def log_density_and_slope(theta: Vector, mu: Vector, sigma: Vector | float) -> tuple[Vector, Vector]:
    """`log_density`, and its derivative [..., D] with respect to mu."""
    low, high = -mu / sigma, (1 - mu) / sigma
    mass = ndtr(high) - ndtr(low)
    distance = (theta - mu) / sigma
    density = -0.5 * distance**2 - np.log(sigma * mass) - _LOG_SQRT_TWO_PI
    edges = np.exp(-0.5 * low**2 - _LOG_SQRT_TWO_PI) - np.exp(-0.5 * high**2 - _LOG_SQRT_TWO_PI)
    return np.asarray(density), np.asarray((distance - edges / mass) / sigma)


def mean(state: PolicyState) -> Vector:
    """Mean [D] of the truncated law: where the trials are. Near an end of [0, 1] it lies well inside of mu."""
    # The slope of log Z in mu is what truncation adds to the mean, in units of sigma^2.
    _, slope = log_density_and_slope(state.mu, state.mu, state.sigma)
    return np.asarray(state.mu - state.sigma**2 * slope)


def location(m: Vector) -> Vector:
    """mu = sigmoid(m), kept a hair inside (0, 1) so that m stays finite over any number of rounds."""
    return np.asarray(np.clip(expit(m), _LOCATION_MARGIN, 1 - _LOCATION_MARGIN), dtype=np.float64)


def logit(mu: Vector) -> Vector:
    """m, the inverse of `location`."""
    return np.asarray(scipy_logit(mu))
