"""The search space: a vector theta in [0, 1]^D and the loss parameters that it stands for.

symbol  meaning                                                        shape
theta   the searched vector; heads in the given order, and for each
        head H2, I2, I3, I1, H1, knot by knot, x before y; then one
        gradient scale for each head                                   [D], D = heads * (10 K + 1)
p_k     a coordinate (x or y) of knot k: p_0 = 0, p_{K+1} = 1 and
        p_k = p_{k-1} + theta_k (1 - p_{k-1})                          [K + 2]
lambda  gradient scale of a head, 10^(2 theta - 1)                     scalar in [0.1, 10]

Source: Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021, section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FUNCTIONS = ("H2", "I2", "I3", "I1", "H1")
"""The five functions of the loss, in the order in which theta and the control points hold them."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeadParameters:
    """The loss of one detection head: control points [5, K + 2, 2] (x, y; ends (0, 0) and (1, 1)) and lambda."""

    control_points: NDArray[np.float64]
    gradient_scale: float


@dataclass(frozen=True)
class Space:
    """The searched parameters of the detection heads named, `knots` interior knots for each function.

    Raises ValueError where no head is given, a name comes twice, or there is no knot.
    """

    heads: tuple[str, ...]
    knots: int = 4

    def __post_init__(self) -> None:
        if not self.heads or len(set(self.heads)) != len(self.heads):
            raise ValueError(f"heads: expected at least one name, each once, got {self.heads!r}")
        if self.knots < 1:
            raise ValueError(f"knots: expected at least 1, got {self.knots}")

    @property
    def dimension(self) -> int:
        return len(self.heads) * (len(FUNCTIONS) * self.knots * 2 + 1)

    @property
    def names(self) -> tuple[str, ...]:
        """A label for each dimension: "bbox_head.H2.knot1.x", ..., "bbox_head.gradient_scale"."""
        knots = (
            f"{head}.{function}.knot{knot}.{axis}"
            for head in self.heads
            for function in FUNCTIONS
            for knot in range(1, self.knots + 1)
            for axis in "xy"
        )
        return (*knots, *(f"{head}.gradient_scale" for head in self.heads))

    def start(self) -> Vector:
        """The theta [D] of the identity functions (equally spaced knots on the diagonal) and lambda 1."""
        knots = 1.0 / np.arange(self.knots + 1, 1, -1)
        functions = np.tile(np.repeat(knots, 2), len(self.heads) * len(FUNCTIONS))
        return np.concatenate([functions, np.full(len(self.heads), 0.5)])

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
        fractions = vector[:-count].reshape(count, len(FUNCTIONS), self.knots, 2)
        points = np.zeros((count, len(FUNCTIONS), self.knots + 2, 2))
        points[:, :, -1] = 1.0
        for knot in range(self.knots):
            previous = points[:, :, knot]
            # The minimum only removes a last-bit excess over 1.
            points[:, :, knot + 1] = np.minimum(previous + fractions[:, :, knot] * (1.0 - previous), 1.0)
        scales = 10.0 ** (2.0 * vector[-count:] - 1.0)
        return {head: HeadParameters(points[i], float(scales[i])) for i, head in enumerate(self.heads)}

    def encode(self, parameters: Mapping[str, HeadParameters]) -> Vector:
        """A theta [D] that `decode` turns into these parameters.

        Behind a coordinate that has reached 1 every fraction decodes to the same curve; 0 is given there.

        Raises ValueError where the heads are not those of this space, or the control points or the gradient scale
        of one cannot be reached from [0, 1]^D.
        """
        if set(parameters) != set(self.heads):
            raise ValueError(f"heads: expected {sorted(self.heads)}, got {sorted(parameters)}")
        fractions = [self._fractions(head, parameters[head].control_points) for head in self.heads]
        scales = [_scale_position(head, parameters[head].gradient_scale) for head in self.heads]
        return np.concatenate([*fractions, scales])

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


def _scale_position(head: str, gradient_scale: float) -> float:
    if not 0.1 <= gradient_scale <= 10.0:
        raise ValueError(f"{head}.gradient_scale: expected a value in [0.1, 10], got {gradient_scale}")
    return float(np.clip((np.log10(gradient_scale) + 1.0) / 2.0, 0, 1))
