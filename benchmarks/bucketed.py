"""The bucketed ranking losses (Yavuz et al., ECCV 2024), in plain form: the fastest that were published.

All logits are sorted. The negatives between two consecutive positives make a bucket, at whose mean score all of them
are taken to be; so each positive is compared with |P| + 1 buckets instead of N negatives. That is exact where H is a
step (delta = 0), as the paper proves, and approximate where a bucket spans a part of the slope of H. The defaults of
delta are those that AP Loss and Rank & Sort Loss were published with. Time O(N log N + |P|^2), memory O(N + |P|^2).
Written from the description, the gradients from those of AP Loss and Rank & Sort Loss; each function returns the value
and the gradient to the logits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Buckets:
    """B = |P| + 1 buckets of negatives; positives in descending order of score."""

    positives: Tensor
    """Indices, `[P]`."""
    negatives: Tensor
    """Indices, `[n]`."""
    bucket: Tensor
    """Of each negative, `[n]`."""
    above: Tensor
    """H_ij between positives, `[P, P]`."""
    false_above: Tensor
    """H between each positive and a member of each bucket, `[P, B]`."""
    sizes: Tensor
    """`[B]`."""

    def gradient(self, logits: Tensor, errors: Tensor, at_positives: Tensor) -> Tensor:
        """Hand the errors e `[P]` to the negatives."""
        counts = self.false_above @ self.sizes
        shares = torch.where(counts > 1e-10, errors / counts, 0.0)
        gradient = torch.zeros_like(logits)
        gradient[self.negatives] = (shares @ self.false_above)[self.bucket] / len(errors)
        gradient[self.positives] = at_positives / len(errors)
        return gradient


def _fill_buckets(logits: Tensor, targets: Tensor, delta: float) -> _Buckets:
    lowest = logits[targets > 0].min() - delta
    indices = ((targets > 0) | ((targets == 0) & (logits >= lowest))).nonzero().squeeze(1)
    indices = indices[logits[indices].argsort(descending=True)]
    is_positive = targets[indices] > 0
    positives, negatives = indices[is_positive], indices[~is_positive]
    bucket = is_positive.cumsum(0)[~is_positive]
    s, s_negative = logits[positives], logits[negatives]
    sizes = torch.zeros(len(s) + 1, dtype=s.dtype, device=s.device).index_add_(0, bucket, torch.ones_like(s_negative))
    means = torch.zeros_like(sizes).index_add_(0, bucket, s_negative) / sizes.clamp_min(1)
    above, false_above = (((x - s[:, None]) / (2 * delta) + 0.5).clamp_(0, 1) for x in (s, means))
    return _Buckets(positives, negatives, bucket, above, false_above, sizes)


def bucketed_ap(logits: Tensor, targets: Tensor, delta: float = 1.0) -> tuple[Tensor, Tensor]:
    """AP Loss; targets 1, 0, -1."""
    buckets = _fill_buckets(logits, targets, delta)
    counts = buckets.false_above @ buckets.sizes
    share = counts / (buckets.above.sum(1) + 0.5 + counts)
    errors = share.flip(0).cummin(0).values.flip(0)
    return errors.mean(), buckets.gradient(logits, errors, -errors)


def bucketed_rank_sort(logits: Tensor, targets: Tensor, delta: float = 0.5) -> tuple[Tensor, Tensor]:
    """Rank & Sort Loss; targets: IoU of positives, 0, -1."""
    buckets = _fill_buckets(logits, targets, delta)
    above, y = buckets.above, targets[buckets.positives]
    counts = buckets.false_above @ buckets.sizes
    ranking = counts / (above.sum(1) + counts)
    missorted = above * (y < y[:, None])
    well_sorted = above - missorted
    sorting = above @ (1 - y) / above.sum(1) - well_sorted @ (1 - y) / well_sorted.sum(1)
    blame = missorted.sum(1)
    sorting = torch.where(blame > 1e-10, sorting, 0.0)
    moved_down = torch.where(blame > 1e-10, sorting / blame, 0.0) @ missorted
    gradient = buckets.gradient(logits, ranking, moved_down - ranking - sorting)
    return (ranking + sorting).mean(), gradient
