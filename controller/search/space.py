"""The search space: a vector theta in [0, 1]^D and the loss parameters that it stands for.

symbol  meaning                                                        shape
theta   the searched vector; heads in the given order, and for each
        head H2, I2, I3, I1, H1, knot by knot, x before y; then one
        gradient scale for each head; where the family has them, an
        L1 weight for each, a GIoU weight for each, a switch for
        each; where the rate is searched, its factor                   [D], D = heads * (10 K + 1 [+ 2 or 3]) [+ 1]
p_k     a coordinate (x or y) of knot k: p_0 = 0, p_{K+1} = 1 and
        p_k = p_{k-1} + theta_k (1 - p_{k-1})                          [K + 2]
lambda  gradient scale of a head, 10^(2 theta - 1)                     scalar in [0.1, 10]
w       weight of an added box term: 0 for theta < 1/4, else
        10^(2 t - 1) with t = (theta - 1/4) / (3/4)                    scalar, 0 or in [0.1, 10]
e       whether a head is error-driven: theta >= 1/2                   bool
f       factor on the learning rate, 4^(2 theta - 1)                   scalar in [1/4, 4]

Functions and scales are published; the rest adds what rivals have, so that AP Loss + L1 is a point too.

Source: Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021, section 3.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FUNCTIONS = ("H2", "I2", "I3", "I1", "H1")
"""The five functions of the loss, in the order in which theta and the control points hold them."""

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "functions": (),
    "box_terms": ("l1_weight", "giou_weight"),
    "extended": ("l1_weight", "giou_weight", "error_driven"),
}
"""What the losses of a family have beyond functions and gradient scales, in the order of theta."""

_NOTHING_ADDED: Mapping[str, float] = {"l1_weight": 0.0, "giou_weight": 0.0, "error_driven": False}
"""Each of these where it changes nothing: there a search starts, and there it is in families that lack it."""

OFF = 0.25
"""Below it a weight is 0. From its middle, where a search starts, the usual spread leaves it in one case of three."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeadParameters:
    """The loss of one detection head: control points [5, K + 2, 2] (x, y; ends (0, 0) and (1, 1)), lambda, w and e."""

    control_points: NDArray[np.float64]
    gradient_scale: float
    l1_weight: float = 0.0
    giou_weight: float = 0.0
    error_driven: bool = False


@dataclass(frozen=True)
class Space:
    """The searched parameters of the detection heads named, `knots` interior knots for each function.

    `family`: one of FAMILIES; `searched_rate`: with the factor on the learning rate.

    Raises ValueError where no head is given, a name comes twice, there is no knot, or the family is none of these.
    """

    heads: tuple[str, ...]
    knots: int = 4
    family: str = "functions"
    searched_rate: bool = False

    def __post_init__(self) -> None:
        if not self.heads or len(set(self.heads)) != len(self.heads):
            raise ValueError(f"heads: expected at least one name, each once, got {self.heads!r}")
        if self.knots < 1:
            raise ValueError(f"knots: expected at least 1, got {self.knots}")
        if self.family not in FAMILIES:
            raise ValueError(f"family: expected one of {', '.join(FAMILIES)}, got {self.family!r}")

    @property
    def added(self) -> tuple[str, ...]:
        """What each head has beyond functions and a gradient scale."""
        return FAMILIES[self.family]

    @property
    def dimension(self) -> int:
        of_head = len(FUNCTIONS) * self.knots * 2 + 1 + len(self.added)
        return len(self.heads) * of_head + self.searched_rate

    @property
    def names(self) -> tuple[str, ...]:
        """A label for each dimension: "bbox_head.H2.knot1.x", ..., "bbox_head.gradient_scale", ..., or
        "learning_rate_factor".
        """
        knots = (
            f"{head}.{function}.knot{knot}.{axis}"
            for head in self.heads
            for function in FUNCTIONS
            for knot in range(1, self.knots + 1)
            for axis in "xy"
        )
        others = (f"{head}.{name}" for name in ("gradient_scale", *self.added) for head in self.heads)
        return (*knots, *others, *(("learning_rate_factor",) if self.searched_rate else ()))

    def start(self) -> Vector:
        """The theta [D] of the identity functions (equally spaced knots on the diagonal), lambda 1, no more."""
        knots = 1.0 / np.arange(self.knots + 1, 1, -1)
        functions = np.tile(np.repeat(knots, 2), len(self.heads) * len(FUNCTIONS))
        added = (_added_position(name, name, _NOTHING_ADDED[name]) for name in self.added)
        rate = (0.5,) if self.searched_rate else ()
        return np.concatenate([functions, np.repeat((0.5, *added), len(self.heads)), rate])

    def check(self, theta: ArrayLike) -> Vector:
        """theta as a float64 array [D]. Raises ValueError (index, value, expectation) where it is not in [0, 1]^D."""
        vector = np.asarray(theta, dtype=np.float64)
        if vector.shape != (self.dimension,):
            raise ValueError(f"theta: expected shape ({self.dimension},), got {vector.shape}")
        outside = np.flatnonzero(~((vector >= 0) & (vector <= 1)))
        if outside.size:
            index = int(outside[0])
            raise ValueError(f"theta[{index}] ({self.names[index]}): expected a value in [0, 1], got {vector[index]}")
        return vector

    def decode(self, theta: ArrayLike) -> dict[str, HeadParameters]:
        """The loss parameters of each head, by the head's name. Raises ValueError as `check` does."""
        vector = self.check(theta)
        count = len(self.heads)
        points = self.control_points(vector)
        others = vector[points[..., 1:-1, :].size : self.dimension - self.searched_rate].reshape(-1, count)
        return {head: self._head(points[i], *map(float, others[:, i])) for i, head in enumerate(self.heads)}

    def control_points(self, thetas: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those of thetas [..., D] in [0, 1]: [..., heads, 5, K + 2, 2], each function from (0, 0) to (1, 1)."""
        shape = (*thetas.shape[:-1], len(self.heads), len(FUNCTIONS), self.knots, 2)
        fractions = thetas[..., : math.prod(shape[-4:])].reshape(shape)
        points = np.zeros((*shape[:-2], self.knots + 2, 2))
        points[..., -1, :] = 1.0
        for knot in range(self.knots):
            previous = points[..., knot, :]
            # The minimum only removes a last-bit excess over 1.
            points[..., knot + 1, :] = np.minimum(previous + fractions[..., knot, :] * (1.0 - previous), 1.0)
        return points

    def decode_rate(self, theta: ArrayLike) -> float:
        """The factor on the learning rate; 1 where it is not searched. Raises ValueError as `check` does."""
        vector = self.check(theta)
        return float(4.0 ** (2.0 * vector[-1] - 1.0)) if self.searched_rate else 1.0

    def encode(self, parameters: Mapping[str, HeadParameters], rate: float = 1.0) -> Vector:
        """A theta [D] that `decode` and `decode_rate` turn into these parameters.

        Behind a coordinate that has reached 1 every fraction decodes to the same curve; 0 is given there. What a weight
        of 0 and a switch leave open becomes the middle of its part.

        Raises ValueError where the heads are not those of this space, or the control points, the gradient scale or
        another number cannot be reached from [0, 1]^D.
        """
        if set(parameters) != set(self.heads):
            raise ValueError(f"heads: expected {sorted(self.heads)}, got {sorted(parameters)}")
        heads = [(head, parameters[head]) for head in self.heads]
        rows = [[_log_position(f"{head}.gradient_scale", one.gradient_scale, 10.0) for head, one in heads]]
        for name, nothing in _NOTHING_ADDED.items():
            values = [(f"{head}.{name}", getattr(one, name)) for head, one in heads]
            if name in self.added:
                rows.append([_added_position(name, place, value) for place, value in values])
            elif found := [(place, value) for place, value in values if value != nothing]:
                place, value = found[0]
                raise ValueError(f"{place}: expected {nothing} in the family {self.family}, got {value}")
        if self.searched_rate:
            rows.append([_log_position("learning_rate_factor", rate, 4.0)])
        elif rate != 1:
            raise ValueError(f"learning_rate_factor: expected 1 where it is not searched, got {rate}")
        return np.concatenate([*(self._fractions(head, one.control_points) for head, one in heads), *rows])

    def _head(
        self, points: NDArray[np.float64], scale: float, l1: float = 0.0, giou: float = 0.0, switch: float = 0.0
    ) -> HeadParameters:
        return HeadParameters(points, 10.0 ** (2.0 * scale - 1.0), _weight_at(l1), _weight_at(giou), switch >= 0.5)

    def _fractions(self, head: str, control_points: NDArray[np.float64]) -> Vector:
        points = np.asarray(control_points, dtype=np.float64)
        expected = (len(FUNCTIONS), self.knots + 2, 2)
        if points.shape != expected:
            raise ValueError(f"{head}.control_points: expected shape {expected}, got {points.shape}")
        if not ((points[:, 0] == 0).all() and (points[:, -1] == 1).all()):
            raise ValueError(f"{head}.control_points: expected every function to go from (0, 0) to (1, 1)")
        steps = np.diff(points, axis=1)
        if not (steps >= 0).all():  # also true for NaN
            row, knot, axis = (int(i) for i in np.argwhere(~(steps >= 0))[0])
            raise ValueError(
                f"{head}.{FUNCTIONS[row]}: expected {'xy'[axis]} to rise from knot to knot, "
                f"got {points[row, knot, axis]} then {points[row, knot + 1, axis]}"
            )
        room = 1.0 - points[:, :-2]
        return np.divide(steps[:, :-1], room, out=np.zeros_like(room), where=room > 0).clip(0, 1).reshape(-1)


def _log_position(name: str, value: float, most: float) -> float:
    """Where `value` lies between 1 / most and most, on a logarithmic scale, in [0, 1]."""
    if not 1 / most <= value <= most:
        raise ValueError(f"{name}: expected a value in [{1 / most:g}, {most:g}], got {value}")
    return float(np.clip((np.log10(value) / np.log10(most) + 1.0) / 2.0, 0, 1))


def _weight_at(position: float) -> float:
    return 0.0 if position < OFF else float(10.0 ** (2.0 * (position - OFF) / (1.0 - OFF) - 1.0))


def _added_position(name: str, place: str, value: float) -> float:
    """Where a value of what FAMILIES names lies in [0, 1]; `place` says in an error whose it is."""
    if name == "error_driven":
        return 0.75 if value else 0.25
    return _weight_position(place, value)


def _weight_position(name: str, weight: float) -> float:
    if weight == 0:
        return OFF / 2
    if not 0.1 <= weight <= 10:
        raise ValueError(f"{name}: expected 0 or a value in [0.1, 10], got {weight}")
    return OFF + (1.0 - OFF) * _log_position(name, weight, 10.0)
