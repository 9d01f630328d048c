import pytest
import torch

from paploss.losses.dominance_sums import LowerPairs
from paploss.losses.piecewise import TruncatedPowers


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 64, 1000])
@pytest.mark.parametrize("levels", [1, 3, 10**6])
def test_agrees_with_comparing_all_pairs(count: int, levels: int, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(count)
    scores, heights = (
        torch.randint(levels, (count,), generator=generator).double().to(device) / levels * 6 for _ in range(2)
    )
    scores = scores.sort().values
    weights = torch.rand(count, 2, generator=generator, dtype=torch.float64).to(device)
    pairs = ((scores - scores[:, None]) / 1.4 + 0.5).clamp(0, 1) * (heights < heights[:, None])
    lower = LowerPairs(TruncatedPowers.ramp(0.7, device), scores, heights)
    torch.testing.assert_close(lower.sums(weights), pairs @ weights, rtol=0, atol=1e-10)
    torch.testing.assert_close(lower.transposed_sums(weights[:, 0]), weights[:, 0] @ pairs, rtol=0, atol=1e-10)


def test_a_common_offset_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = (torch.randn(33, generator=generator, dtype=torch.float64) * 2**20).round().sort().values / 2**20
    weights = torch.rand(33, generator=generator, dtype=torch.float64)
    ramp, heights = TruncatedPowers.ramp(0.5, scores.device), torch.arange(33.0).flip(0)
    near, far = (LowerPairs(ramp, scores + offset, heights) for offset in (0, 2**30))  # a sum that is exact
    torch.testing.assert_close(far.sums(weights[:, None]), near.sums(weights[:, None]), rtol=0, atol=1e-14)
    torch.testing.assert_close(far.transposed_sums(weights), near.transposed_sums(weights), rtol=0, atol=1e-14)
