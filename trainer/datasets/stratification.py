"""Choosing validation images so that every class is in both parts.

Iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, ECML PKDD 2011)
deals out the images of the rarest class first, each to the part that lacks most of its share. Images without an object,
and images by their number of objects, are classes of their own there, after the real ones. A greedy choice may leave a
class in one part; then an integer program finds the nearest choice that has as many classes in both parts as possible.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack, identity

Membership = NDArray[np.bool_]
"""`[images, classes]`: whether an image shows an object of a class."""

MOST_SECONDS = 60
"""For the integer program, which needs milliseconds where classes are few or images many."""
CROWDEDNESS = (0.25, 0.5, 0.75)
"""Quantiles of the number of objects that images are grouped by."""


def choose_validation(objects: Mapping[Hashable, Sequence[Hashable]], val_count: int, seed: int) -> set[Hashable]:
    """Ids of `val_count` images for the validation part.

    Every class with two images or more is in both parts if there is a choice of so many images that does this for all
    of them; otherwise as many classes as possible are.

    Args:
        objects: the classes of the objects in each image, by the image's id; an image may have none.
        val_count: from 1 to less than the number of images.
        seed: fixes the outcome.
    """
    image_ids = list(objects)
    columns = {
        name: column for column, name in enumerate(dict.fromkeys(one for row in objects.values() for one in row))
    }
    membership = np.zeros((len(image_ids), len(columns)), dtype=bool)
    for row, names in enumerate(objects.values()):
        membership[row, [columns[name] for name in names]] = True
    counts = np.array([len(names) for names in objects.values()])
    chosen = _deal_out(membership, _groups(counts), val_count, np.random.default_rng(seed))
    shown = membership.sum(axis=0)
    in_val = membership[chosen].sum(axis=0)
    if ((shown > 1) & ((in_val == 0) | (in_val == shown))).any():
        chosen = _mend(membership[:, shown > 1], chosen)
    return {image_ids[row] for row in np.flatnonzero(chosen)}


def _groups(counts: NDArray[np.int64]) -> Membership:
    """Images without objects, and the others by quantiles of their number, as columns."""
    bounds = np.quantile(counts[counts > 0], CROWDEDNESS) if counts.any() else np.zeros(len(CROWDEDNESS))
    group = np.where(counts == 0, 0, 1 + np.searchsorted(bounds, counts))
    return np.equal.outer(group, np.arange(len(CROWDEDNESS) + 2))


def _deal_out(
    classes: Membership, groups: Membership, val_count: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Which images go to the validation part, by iterative stratification."""
    membership = np.hstack([classes, groups])
    count, shown = len(membership), membership.sum(axis=0)
    wanted = np.empty((2, membership.shape[1]))  # [training and validation, class]
    wanted[1] = shown * val_count / count
    real = slice(0, classes.shape[1])
    wanted[1, real] = np.clip(wanted[1, real], np.minimum(1, shown[real] - 1), np.maximum(shown[real] - 1, 0))
    wanted[0] = shown - wanted[1]
    free = np.array([count - val_count, val_count])
    is_open, chosen = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    chances, left = generator.permutation(count), shown.copy()
    for columns in (np.arange(classes.shape[1]), np.arange(classes.shape[1], membership.shape[1])):
        while left[columns].any():
            open_columns = columns[left[columns] > 0]
            rarest = open_columns[left[open_columns].argmin()]
            rows = np.flatnonzero(is_open & membership[:, rarest])
            for row in rows[np.argsort(chances[rows])]:
                own = membership[row]
                # Of the rarest class first, then of all its classes, then of images.
                lacks = [(free[part] > 0, wanted[part, rarest], wanted[part, own].sum(), free[part]) for part in (0, 1)]
                part = int(lacks[1] > lacks[0])
                wanted[part, own] -= 1
                left[own] -= 1
                free[part] -= 1
                is_open[row], chosen[row] = False, part == 1
    return chosen


def _mend(classes: Membership, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The choice of as many images that has most classes in both parts, and of those the one nearest to `chosen`.

    Binary variables: x of each image, 1 in the validation part; per class, u and v, 1 where that part lacks it.
    """
    count, class_count = classes.shape
    shown = classes.sum(axis=0)
    by_class = csr_array(classes.T.astype(float))
    one_each = np.concatenate([np.ones(count), np.zeros(2 * class_count)])
    ones, nothing = identity(class_count, format="csr"), csr_array((class_count, class_count))
    result = milp(
        c=np.concatenate([np.where(chosen, -1.0, 1.0), np.full(2 * class_count, 2.0 * count + 1)]),
        integrality=np.ones(count + 2 * class_count),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(hstack([by_class, ones, nothing]), lb=1),
            LinearConstraint(hstack([by_class, nothing, -ones]), ub=shown - 1),
            LinearConstraint(one_each, lb=chosen.sum(), ub=chosen.sum()),
        ],
        options={"time_limit": MOST_SECONDS},
    )
    return chosen if result.x is None else result.x[:count] > 0.5
