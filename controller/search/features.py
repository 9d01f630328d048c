"""What a model of the reward sees of a theta: the loss as a function, and what is known of its physics.

Knots say little by themselves: one behind a coordinate that has reached 1 does nothing, and different knots may draw
one curve. So the model sees the values of the functions, quantities that decide how a training goes (`screen.py`), and
theta besides. Columns come in groups, each with a length scale of its own in the model.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from paploss.controller.search.screen import evaluate, rho
from paploss.controller.search.space import FUNCTIONS, Space

_GRID = np.linspace(0.1, 0.9, 9)
_H2, _I2, _I3, _I1, _H1 = (FUNCTIONS.index(name) for name in ("H2", "I2", "I3", "I1", "H1"))
_SPREAD = 0.2
_REFERENCES = 256


@dataclass(frozen=True, eq=False)
class Features:
    """The columns of thetas of one space, scaled to a spread of about 1 around the start of a search."""

    space: Space
    groups: NDArray[np.intp]
    """[F]: the group of each column, 0, 1, ..."""
    scales: NDArray[np.float64]
    """[F]."""

    def __call__(self, thetas: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n, F] of thetas [n, D]."""
        return np.concatenate(_columns(self.space, thetas), axis=1) / self.scales


@lru_cache(maxsize=8)
def features_of(space: Space) -> Features:
    """The features of a space."""
    around = np.random.default_rng(0).normal(space.start(), _SPREAD, (_REFERENCES, space.dimension)).clip(0, 1)
    columns = _columns(space, around)
    groups = np.concatenate([np.full(block.shape[1], group) for group, block in enumerate(columns)])
    return Features(space, groups, np.maximum(np.concatenate(columns, axis=1).std(axis=0), 1e-3))


def _columns(space: Space, thetas: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """One block [n, *] for each group: the functions and the physics of each head, what is no knot, theta."""
    values = evaluate(space.control_points(thetas), _GRID)
    blocks = []
    for head in range(len(space.heads)):
        blocks += [values[:, head, function] for function in range(len(FUNCTIONS))]
        blocks.append(_physics(values[:, head]))
    no_knot = [dimension for dimension, name in enumerate(space.names) if ".knot" not in name]
    return [*blocks, thetas[:, no_knot], thetas]


def _physics(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, 19] from function values [n, 5, 9] at 0.1 ... 0.9: how a head's boxes and scores are pulled."""

    def at(function: int, x: float) -> NDArray[np.float64]:
        return np.asarray(values[:, function, round(10 * x) - 1])

    def slope(function: int, low: float, high: float) -> NDArray[np.float64]:
        return np.asarray((at(function, high) - at(function, low)) / (high - low))

    columns = []
    for difference in (0.5, 0.4, 0.3):  # alike scores, and positives that are already ahead
        share = rho(at(_H2, difference), at(_H1, difference))
        columns.append(np.log10(share + 0.02))
        for low, high in ((0.1, 0.5), (0.3, 0.7), (0.5, 0.9), (0.1, 0.9)):
            columns.append(slope(_I1, low, high) - share * slope(_I3, low, high))
    columns += [slope(_H2, 0.3, 0.5), slope(_H2, 0.4, 0.6), 1 - at(_H2, 0.5), at(_I3, 0.5)]
    return np.stack(columns, axis=1)
