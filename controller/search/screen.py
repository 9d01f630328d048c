"""Which losses are hopeless can be read off theta, without a training.

symbol      meaning                                                                                    shape
rho         error per rank of a positive while the scores are still alike: H2(1/2) / H1(1/2)           scalar, 0 or more
net(u)      what the loss rewards in a box of quality u: I1(u) - rho I3(u), for the share rho held     scalar
g           mean slope of net between u = 0.1 and 0.9: the pull of a positive towards a better box     scalar

Where g is negative, a worse box lowers the loss. docs/explanation/screen.md derives it and says how often it is right.

The screen is soft: a share of the proposals goes unscreened, by the algorithm too, so that a search in which the
argument does not hold still finds out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from paploss.controller.search.space import FUNCTIONS, Space, Vector

LEAST_BOX_GRADIENT: Final = 0.1
MOST_DRAWS: Final = 50
UNSCREENED_SHARE: Final = 0.1

_H2, _I2, _I3, _I1, _H1 = (FUNCTIONS.index(name) for name in ("H2", "I2", "I3", "I1", "H1"))
_LEAST_H1 = 1e-2
_MOST_RHO = 5.0
_SCREENING = 4  # sets its generator apart from those of the algorithms
_LOW, _MIDDLE, _HIGH = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Proposal:
    """A theta [D], and how many were rejected before it."""

    theta: Vector
    screened_out: int = 0


def evaluate(points: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values [..., q] of piecewise-linear functions at x [q]; points [..., K + 2, 2] from (0, 0) to (1, 1)."""
    widths, heights = (np.diff(points[..., axis], axis=-1)[..., None, :] for axis in (0, 1))
    share = (x[:, None] - points[..., None, :-1, 0]) / np.maximum(widths, 1e-9)
    return np.asarray((share.clip(0, 1) * heights).sum(axis=-1))


def rho(h2: NDArray[np.float64], h1: NDArray[np.float64]) -> NDArray[np.float64]:
    """Error per rank, at most 5; from H2 and H1 [...] at the score difference of the detections that matter."""
    return np.asarray(np.minimum(h2 / np.maximum(h1, _LEAST_H1), _MOST_RHO))


def box_gradient(space: Space, thetas: NDArray[np.float64]) -> NDArray[np.float64]:
    """g of each head, [n, heads], of thetas [n, D] in [0, 1]."""
    values = evaluate(space.control_points(thetas), np.array([0.1, 0.5, 0.9]))
    h2, h1 = values[:, :, _H2, _MIDDLE], values[:, :, _H1, _MIDDLE]
    rise = (values[..., _HIGH] - values[..., _LOW]) / 0.8
    return np.asarray(rise[:, :, _I1] - rho(h2, h1) * rise[:, :, _I3])


def passes(space: Space, thetas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each theta [n, D] pulls the boxes of its first head the right way, and those of others at all, [n].

    An added box term does so by itself; the error-driven gradient gives boxes none, whatever the functions are.
    """
    pulls = box_gradient(space, thetas) > LEAST_BOX_GRADIENT
    pulls[:, 1:] = True  # of a second stage, whose boxes begin near objects, g tells nothing: see the page
    if space.added:
        heads = [space.decode(theta).values() for theta in thetas]
        pulls &= ~np.array([[one.error_driven for one in of_theta] for of_theta in heads])
        pulls |= np.array([[one.l1_weight > 0 or one.giou_weight > 0 for one in of_theta] for of_theta in heads])
    return np.asarray(pulls.all(axis=1))


def is_screened(seed: int, version: int, index: int) -> bool:
    """Whether this proposal is screened: all but a share of them, fixed by its place in the search."""
    return bool(np.random.default_rng((seed, version, index, _SCREENING)).random() >= UNSCREENED_SHARE)


def redraw(space: Space, draw: Callable[[int], Vector], seed: int) -> Proposal:
    """The first theta of `draw(seed)`, `draw(seed of the next draw)`, ... that passes; the last one where none does.

    One that is the same with another seed is given, such as the identity: it is tried whether or not it passes.
    """
    theta = draw(seed)
    for number in range(1, MOST_DRAWS):
        if passes(space, theta[None])[0]:
            return Proposal(theta, number - 1)
        following = draw(int(np.random.SeedSequence((seed, _SCREENING, number)).generate_state(1)[0]))
        if np.array_equal(following, theta):
            return Proposal(theta, number - 1)
        theta = following
    return Proposal(theta, MOST_DRAWS - 1)
