"""Piecewise functions of a quality and of a score difference.

| symbol | meaning                                                         | shape        |
|--------|-----------------------------------------------------------------|--------------|
| u      | localisation quality in [0, 1]                                  | any          |
| d      | score difference s_j - s_i                                      | any          |
| z      | clamp(d / 2 + 1/2, 0, 1), the difference mapped to [0, 1]       | any          |
| x, y   | control points of F functions on [0, 1], (0, 0) to (1, 1)       | `[F, K+2]`   |
| o_m    | knots of a function of d                                        | `[M]`        |
| a_mp   | coefficient of (d - o_m)^p right of knot m                      | `[M, deg+1]` |
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

NARROWEST_WIDTH = 1e-7
"""Segments narrower than this count as jumps: their slope would cancel catastrophically in sums over pairs."""


def check_control_points(control_points: Tensor) -> None:
    """Check `[F, K+2, 2]` control points; their values only where reading them does not stop the device (CPU).

    Raises:
        ValueError: unless each of the F functions starts in (0, 0), ends in (1, 1) and never falls in x or y.
    """
    shape = tuple(control_points.shape)
    if control_points.ndim != 3 or shape[0] not in (4, 5) or shape[1] < 2 or shape[2] != 2:
        raise ValueError(f"control_points: expected shape [4 or 5, K+2, 2], received {list(shape)}")
    if control_points.device.type != "cpu":
        return
    for row, points in enumerate(control_points):
        ends = (points[0].tolist(), points[-1].tolist())
        if ends != ([0.0, 0.0], [1.0, 1.0]):
            raise ValueError(f"control_points[{row}]: expected ends [0, 0] and [1, 1], received {ends}")
        # Negated, so that NaN fails as well; monotone between these ends implies [0, 1].
        if not bool((points.diff(dim=0) >= 0).all()):
            raise ValueError(
                f"control_points[{row}]: expected x and y in [0, 1] that never fall, received {points.tolist()}"
            )


@dataclass(frozen=True)
class TruncatedPowers:
    """A function of the score difference: f(d) = sum over m, p of a_mp (d - o_m)^p where d > o_m.

    Being a sum of one-sided powers, it can be summed over all pairs by sorting knots instead of comparing pairs. A
    jump is a_m0; it is reached right of its knot, or at the knot itself where `inclusive` says so.
    """

    offsets: Tensor
    """o, `[M]` float64."""
    coefficients: Tensor
    """a, `[M, degree + 1]` float64."""
    inclusive: Tensor
    """Whether the terms of knot m count at d == o_m already, `[M]` bool."""

    @property
    def degree(self) -> int:
        return self.coefficients.shape[1] - 1

    @classmethod
    def ramp(cls, half_width: float, device: torch.device) -> Self:
        """clamp(d / (2 half_width) + 1/2, 0, 1)."""
        slope = 0.5 / half_width
        return cls(
            offsets=_constant([-half_width, half_width], device),
            coefficients=_constant([[0.0, slope], [0.0, -slope]], device),
            inclusive=torch.zeros(2, dtype=torch.bool, device=device),
        )

    @classmethod
    def squared_ramp(cls, device: torch.device) -> Self:
        """z^2 = (d + 1)^2 / 4 from d = -1 on, less what exceeds 1 beyond d = 1."""
        return cls(
            offsets=_constant([-1.0, 1.0], device),
            coefficients=_constant([[0.0, 0.0, 0.25], [0.0, -1.0, -0.25]], device),
            inclusive=torch.zeros(2, dtype=torch.bool, device=device),
        )

    @classmethod
    def half_sign(cls, device: torch.device) -> Self:
        """sign(d) / 2 + 1/2: half a step on reaching 0, the other half on leaving it."""
        return cls(
            offsets=torch.zeros(2, dtype=torch.float64, device=device),
            coefficients=torch.full((2, 1), 0.5, dtype=torch.float64, device=device),
            inclusive=torch.arange(2, device=device) == 0,
        )


def _constant(values: list[float] | list[list[float]], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).to(device, non_blocking=True)  # else a GPU would be waited for


@dataclass(frozen=True)
class PiecewiseLinear:
    """Functions on [0, 1] through control points, with f(0) = 0 and f(1) = 1, left-continuous between.

    Coordinates within 1e-7 of 0 or 1 count as 0 or 1; then a segment narrower than 1e-7 counts as a jump at its left
    end. So slopes are bounded by 1e7 for any control points. Several functions are one object, because on a GPU an
    operation on few numbers takes the time of its launch.
    """

    x: Tensor
    """Knots, `[F, K+2]` float64."""
    starts: Tensor
    """Value at each knot, after the jump there, `[F, K+2]` float64."""
    slopes: Tensor
    """Slope right of each knot, `[F, K+2]` float64; 0 at the last."""
    jumps: Tensor
    """Rise at each knot, `[F, K+2]` float64; 0 at the last."""

    @classmethod
    def through(cls, points: Tensor) -> Self:
        """The functions through `[F, K+2, 2]` control points (x, y)."""
        x, y = points.double().unbind(-1)
        x = x.masked_fill(x < NARROWEST_WIDTH, 0.0).masked_fill(x > 1.0 - NARROWEST_WIDTH, 1.0)
        width, rise = x.diff(), y.diff()
        is_jump = width < NARROWEST_WIDTH
        jumps = torch.where(is_jump, rise, 0.0)
        slopes = (rise - jumps) / width.masked_fill(is_jump, 1.0)
        slopes, jumps = torch.nn.functional.pad(torch.stack((slopes, jumps)), (0, 1))
        return cls(x, y + jumps, slopes, jumps)

    def __getitem__(self, chosen: slice) -> Self:
        """Some of the functions."""
        return type(self)(self.x[chosen], self.starts[chosen], self.slopes[chosen], self.jumps[chosen])

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """f(u) and f'(u), the derivative from the left at a kink (from the right at u = 0).

        `[F, n]` each, at u `[n]` float64.
        """
        # x[left] < u, but for u = 0
        left = (torch.searchsorted(self.x, u.expand(len(self.x), -1).contiguous()) - 1).clamp_min(0)
        slope = self.slopes.gather(1, left)
        value = self.starts.gather(1, left) + slope * (u - self.x.gather(1, left))
        return value.masked_fill(u <= 0, 0.0).masked_fill(u >= 1, 1.0), slope

    def of_difference(self) -> list[TruncatedPowers]:
        """Each f(z) as a function of the score difference d, with z = clamp(d / 2 + 1/2, 0, 1)."""
        kinks = torch.nn.functional.pad(self.slopes, (1, 0)).diff()
        # Jumps at z = 1 are due at 1 itself, so that f(1) = 1; they move to the last knot, which then has no kink.
        at_end = self.x[:, :-1] >= 1
        early = self.jumps[:, :-1].masked_fill(at_end, 0.0)
        late = (self.jumps[:, :-1] * at_end).sum(1, keepdim=True)
        offsets = 2 * self.x - 1
        coefficients = torch.stack((torch.cat((early, late), dim=1), kinks / 2), dim=2)
        inclusive = torch.cat((torch.zeros_like(at_end), at_end[:, -1:]), dim=1)
        return [TruncatedPowers(*parts) for parts in zip(offsets, coefficients, inclusive, strict=True)]
