"""The entries of a batch that take part in a ranking loss: checks, and their selection."""

import torch
from torch import Tensor

QUALITY_SLACK = 1e-6
"""How far rounding may take the quality or the error of a box out of its range."""


def check_logits(logits: Tensor, is_positive: Tensor, is_valid: Tensor) -> None:
    """Check logits `[N]` on the CPU; positives and valid entries are `[N]` bool.

    Raises:
        ValueError: a valid entry is NaN, or a positive infinite.
    """
    logits = logits.detach()
    # The sum is the cheapest sign of a NaN; infinities of both signs give one too, hence the second look.
    if logits.sum().isnan() and bool((logits.isnan() & is_valid).any()):
        raise ValueError("logits: expected numbers, received NaN")
    if not bool(logits[is_positive].isfinite().all()):
        raise ValueError("logits: expected finite numbers at positives, received an infinity")


def select_entries(logits: Tensor, is_positive: Tensor, is_competitor: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Indices of the positives and of the competitors whose logit is within reach of a positive, or above.

    On a GPU this waits for the device, once: the counts decide the shapes of all that follows.

    Args:
        logits: `[N]` floating; where NaN, a competitor stays, to show in the result.
        is_positive: `[N]` bool.
        is_competitor: `[N]` bool.
        reach: how far below the lowest positive a logit still matters.

    Returns:
        Two int64 tensors, ascending; both empty without a positive.
    """
    if logits.numel() == 0:
        nothing = torch.empty(0, dtype=torch.int64, device=logits.device)
        return nothing, nothing
    # Rounded down in the logits' dtype.
    lowest = logits.where(is_positive, torch.inf).amin() - reach
    is_near = is_competitor & ~(logits <= lowest.nextafter(lowest.new_full((), -torch.inf)))
    positive_count, near_count = torch.stack((is_positive.sum(), is_near.sum())).tolist()
    if positive_count == 0:
        near_count, is_near = 0, is_near.fill_(False)
    return _indices(is_positive, positive_count), _indices(is_near, near_count)


def _indices(mask: Tensor, count: int) -> Tensor:
    """Where a mask is True, `[count]`; knowing the count, a GPU need not be waited for."""
    indices = torch.nonzero_static(mask, size=count) if mask.is_cuda else mask.nonzero()
    return indices.squeeze(1)
