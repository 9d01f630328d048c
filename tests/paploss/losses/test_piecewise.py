import pytest
import torch
from torch import Tensor

from paploss.losses.piecewise import PiecewiseLinear, TruncatedPowers


def through(*points: tuple[float, float]) -> PiecewiseLinear:
    """One function."""
    return PiecewiseLinear.through(torch.tensor(points)[None])


def evaluate(f: TruncatedPowers, d: Tensor) -> Tensor:
    """f(d), term by term."""
    excess = d[:, None] - f.offsets
    counts = (excess > 0) | ((excess == 0) & f.inclusive)
    return sum(a * excess**p * counts for p, a in enumerate(f.coefficients.unbind(1))).sum(1)  # type: ignore[union-attr]


def test_values_and_slopes_by_hand() -> None:
    f = through((0, 0), (0.25, 0.5), (0.75, 0.5), (1, 1))
    value, slope = f(torch.tensor([0.0, 0.125, 0.25, 0.5, 0.75, 0.875, 1.0], dtype=torch.float64))
    assert value.tolist() == [[0, 0.25, 0.5, 0.5, 0.5, 0.75, 1]]
    assert slope.tolist() == [[2, 2, 2, 0, 0, 2, 2]]  # from the left at a kink, from the right at 0


def test_jumps_leave_the_ends_fixed_and_are_reached_from_the_right() -> None:
    f = through((0, 0), (0, 0.25), (0.5, 0.25), (0.5, 0.5), (1, 0.75), (1, 1))
    value, _ = f(torch.tensor([0.0, 1e-9, 0.5, 0.5 + 1e-12, 1 - 1e-12, 1.0], dtype=torch.float64))
    assert value[0].tolist() == pytest.approx([0, 0.25, 0.25, 0.5, 0.75, 1], abs=1e-9)


def test_several_functions_are_each_what_they_are_alone() -> None:
    rows = torch.tensor([[(0, 0), (0.25, 0.5), (0.75, 0.5), (1, 1)], [(0, 0), (0.5, 0), (0.5, 1), (1, 1)]])
    u = torch.linspace(0, 1, 33, dtype=torch.float64)
    together, alone = PiecewiseLinear.through(rows), [PiecewiseLinear.through(row[None]) for row in rows]
    for found, expected in zip(together(u), zip(*(f(u) for f in alone), strict=True), strict=True):
        assert torch.equal(found, torch.cat(expected))
    assert torch.equal(together[1:](u)[0], alone[1](u)[0])
    for both, (one,) in zip(together.of_difference(), (f.of_difference() for f in alone), strict=True):
        assert torch.equal(both.coefficients, one.coefficients)
        assert torch.equal(both.offsets, one.offsets)
        assert torch.equal(both.inclusive, one.inclusive)


def test_segments_narrower_than_1e_7_are_jumps_and_wider_ones_are_not() -> None:
    points = torch.tensor([[(0, 0), (0.5, 0), (0.5 + 9e-8, 1), (1, 1)]], dtype=torch.float64)
    f = PiecewiseLinear.through(points)
    assert f.jumps.tolist() == [[0, 1, 0, 0]]
    assert [one.item() for one in f(torch.tensor([0.5 + 4e-8], dtype=torch.float64))] == [1, 0]  # inside it
    points[0, 2, 0] = 0.5 + 2e-7
    assert PiecewiseLinear.through(points).jumps.tolist() == [[0, 0, 0, 0]]
    assert PiecewiseLinear.through(points).slopes.max() == pytest.approx(5e6)


@pytest.mark.parametrize(
    "points",
    [
        [(0, 0), (0.25, 0.5), (0.75, 0.5), (1, 1)],
        [(0, 0), (0, 0.25), (0.5, 0.25), (0.5, 0.5), (1, 0.75), (1, 1)],
        [(0, 0), (0, 1), (1, 1)],
        [(0, 0), (1, 0), (1, 0.5), (1, 1)],
    ],
)
def test_of_difference_is_the_function_of_z(points: list[tuple[float, float]]) -> None:
    f = through(*points)
    d = torch.cat((torch.linspace(-2, 2, 257), torch.tensor([-1 + 1e-9, 1e-9, 1 - 1e-9]))).double()
    (expected,), (slope,) = f((d / 2 + 0.5).clamp(0, 1))
    (h,) = f.of_difference()
    assert evaluate(h, d).tolist() == pytest.approx(expected.tolist(), abs=1e-8)
    derivative = TruncatedPowers(h.offsets, h.coefficients[:, 1:], h.inclusive)
    inside = (d > -1) & (d <= 1)
    assert evaluate(derivative, d)[inside].tolist() == pytest.approx((slope / 2)[inside].tolist())


def test_ramps_and_half_sign_by_hand() -> None:
    d = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    cpu = torch.device("cpu")
    assert evaluate(TruncatedPowers.ramp(0.5, cpu), d).tolist() == [0, 0, 0, 0.5, 1, 1, 1]
    assert evaluate(TruncatedPowers.ramp(1.0, cpu), d).tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert evaluate(TruncatedPowers.squared_ramp(cpu), d).tolist() == [0, 0, 0.0625, 0.25, 0.5625, 1, 1]
    assert evaluate(TruncatedPowers.half_sign(cpu), d).tolist() == [0, 0, 0, 0.5, 1, 1, 1]
