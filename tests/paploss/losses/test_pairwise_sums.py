import pytest
import torch
from torch import Tensor

from paploss.losses.pairwise_sums import SortedBreakpoints, bin_sums
from paploss.losses.piecewise import TruncatedPowers


def ramp(d: Tensor) -> Tensor:
    return (d / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("count", [0, 1, 50, 20000], ids=["none", "one", "searched", "through the grid"])
@pytest.mark.parametrize("references", [1, 30])
def test_sums_equal_those_over_all_pairs(count: int, references: int, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(count + references)
    s_i = torch.randn(references, generator=generator, dtype=torch.float64).to(device)
    s_j = (2 * torch.randn(count, generator=generator, dtype=torch.float64)).to(device)
    s_j[: count // 2] = (s_j[: count // 2] * 4).round() / 4  # ties
    w = torch.rand(count, generator=generator, dtype=torch.float64).to(device)
    c = torch.rand(references, generator=generator, dtype=torch.float64).to(device)
    functions = (TruncatedPowers.ramp(1.0, device), TruncatedPowers.squared_ramp(device))
    pairs = SortedBreakpoints(s_i, functions)
    placed = pairs.place(s_j, w)
    z = ramp(s_j[None, :] - s_i[:, None])
    inside = (z > 0) & (z < 1)
    cases = zip(pairs.functions, (z, z.square()), (inside / 2, inside * z), strict=True)
    for function, value, slope in cases:
        for f, expected in ((function, value), (function.derivative(), slope.double())):
            torch.testing.assert_close(f.sums(placed), expected @ w, rtol=1e-11, atol=1e-11)
            torch.testing.assert_close(f.transposed_sums(c, placed), c @ expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("spread", [2.0**-20, 1.0, 2.0**14, 1e30])
def test_bins_count_the_breakpoints_below(spread: float, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    # Multiples of 2^-20 keep every difference exact, so that scores can lie exactly on breakpoints.
    references = (torch.randn(40, generator=generator, dtype=torch.float64).to(device) * 2**20).round() / 2**20
    references[0] = -spread  # one far from the others leaves most breakpoints in few cells of the grid
    functions = (TruncatedPowers.half_sign(device), TruncatedPowers.ramp(1.0, device))
    scores = torch.cat((references, references + 1, references - 1, torch.randn(30000, generator=generator).to(device)))
    centred, r = scores - references.min(), references - references.min()
    below = (torch.stack((r, r - 1, r + 1)) < centred[:, None, None]).sum((1, 2)) + (r <= centred[:, None]).sum(1)
    placed = SortedBreakpoints(references, functions).place(scores)
    torch.testing.assert_close(placed.bins.long(), below)


def test_far_and_infinite_scores_count_as_just_outside() -> None:
    pairs = SortedBreakpoints(torch.zeros(1), (TruncatedPowers.ramp(1.0, torch.device("cpu")),))
    placed = pairs.place(torch.tensor([-torch.inf, -1e30, 1e30, torch.inf]))
    assert pairs.functions[0].sums(placed).tolist() == [2.0]


@pytest.mark.parametrize("lanes", [1, 2, 64])
@pytest.mark.parametrize("count", [0, 1, 1000])
@pytest.mark.parametrize("bin_count", [1, 7])
def test_sums_of_bins_are_the_same_in_any_number_of_lanes(
    count: int, bin_count: int, lanes: int, device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(count)
    bins = torch.randint(bin_count, (count,), generator=generator)
    rows = torch.randint(-100, 100, (2, count), generator=generator).double()  # whole numbers: every sum is exact
    expected = rows @ torch.nn.functional.one_hot(bins, bin_count).double()
    found = bin_sums(bins.int().to(device), rows.to(device), bin_count, lanes)
    assert torch.equal(found.cpu(), expected)
