import pytest
import torch

from trainer.losses.dominance_sums import dominance_sums, sums_over_lower
from trainer.losses.piecewise import TruncatedPowers


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 64, 100])
def test_dominance_sums_agree_with_comparing_all(count: int, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(count)
    values = torch.rand(count, 3, generator=generator, dtype=torch.float64).to(device)
    ranks = torch.randperm(count, generator=generator).to(device)
    prefixes, bounds = (x.flatten().to(device) for x in torch.meshgrid(*[torch.arange(count + 1)] * 2, indexing="ij"))
    is_counted = (torch.arange(count, device=device) < prefixes[:, None]) & (ranks < bounds[:, None])
    torch.testing.assert_close(dominance_sums(values, ranks, prefixes, bounds), is_counted.double() @ values)


@pytest.mark.parametrize("count", [1, 2, 50, 1000])
@pytest.mark.parametrize("levels", [3, 10**6])
def test_sums_over_lower_agree_with_all_pairs_also_transposed(count: int, levels: int, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(count)
    scores, heights = (
        torch.randint(levels, (count,), generator=generator).double().to(device) / levels * 6 for _ in range(2)
    )
    weights = torch.rand(2, count, generator=generator, dtype=torch.float64).to(device)
    pairs = ((scores - scores[:, None]) / 1.4 + 0.5).clamp(0, 1) * (heights < heights[:, None])
    ramp = TruncatedPowers.ramp(0.7, device)
    torch.testing.assert_close(sums_over_lower(ramp, scores, heights, weights), weights @ pairs.T, rtol=0, atol=1e-10)
    torch.testing.assert_close(sums_over_lower(ramp, -scores, -heights, weights), weights @ pairs, rtol=0, atol=1e-10)
