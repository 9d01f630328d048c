"""AP, aLRP and Rank & Sort Loss written straight from their formulas: one positive after the other, float64.

Nothing here is shared with the code under test. Targets are the IoU of a positive, 0 or -1; each function returns the
values and then the gradients that the paper defines.
"""

import torch
from torch import Tensor


def relation(difference: Tensor, delta: float) -> Tensor:
    """H."""
    return (difference / (2 * delta) + 0.5).clamp(0, 1)


def looped_ap_loss(logits: Tensor, targets: Tensor, delta: float) -> list[Tensor]:
    """The loss and its gradient to the logits."""
    s, is_positive, is_negative = logits.double(), targets > 0, targets == 0
    positives = is_positive.nonzero().squeeze(1)
    gradient, precisions, best = torch.zeros_like(s), [], torch.zeros((), dtype=s.dtype)
    for i in positives[s[positives].argsort()]:
        above = relation(s - s[i], delta)
        a, b = above[positives].sum() + 0.5, above[is_negative].sum()
        precision = a / (a + b)
        best = torch.maximum(best, precision)
        precisions.append(best)
        gradient[i] = -(1 - best)
        factor = (1 - best) / (1 - precision) if precision < best else 1.0
        gradient += torch.where(is_negative, above, 0.0) / (a + b) * factor
    return [1 - torch.stack(precisions).mean(), gradient / len(positives)]


def looped_alrp_loss(logits: Tensor, targets: Tensor, errors: Tensor, delta: float) -> list[Tensor]:
    """L_cls, L_reg, rank, the gradient of L_cls to the logits and that of L_reg to the regression errors."""
    s, is_positive, is_negative = logits.double(), targets > 0, targets == 0
    positives = is_positive.nonzero().squeeze(1)
    gradient, ranks, precisions = torch.zeros_like(s), [], []
    for place, i in enumerate(positives):
        above = relation(s - s[i], delta)
        others = above[positives].index_fill(0, torch.tensor([place]), 0.0)
        count = above[is_negative].sum()
        ranks.append(1 + others.sum() + count)
        precisions.append((1 + others.sum()) / ranks[-1])
        if count > 1e-5:
            gradient[i] = -((others * errors.double()).sum() + count) / ranks[-1]
            gradient += torch.where(is_negative, above, 0.0) * (-gradient[i] / count)
    rank = torch.stack(ranks)
    leaf, regression = errors.detach().double().requires_grad_(), torch.zeros((), dtype=s.dtype)
    descending = s[positives].argsort(stable=True).flip(0)
    for place, i in enumerate(descending):
        regression = regression + leaf[descending[: place + 1]].sum() / rank[i] / len(positives)
    regression.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    loss = 1 - torch.stack(precisions).mean()
    return [loss, regression.detach(), rank, gradient / len(positives), leaf.grad]


def looped_rank_sort_loss(logits: Tensor, targets: Tensor, delta: float) -> list[Tensor]:
    """Ranking error, sorting error, and the gradient of each to the logits."""
    s, is_positive, is_negative = logits.double(), targets > 0, targets == 0
    positives = is_positive.nonzero().squeeze(1)
    y = targets.double()
    ranking_gradient, sorting_gradient = torch.zeros_like(s), torch.zeros_like(s)
    ranking, sorting = torch.zeros((), dtype=s.dtype), torch.zeros((), dtype=s.dtype)
    for i in positives:
        above = relation(s - s[i], delta)
        of_positives, of_negatives = torch.where(is_positive, above, 0.0), torch.where(is_negative, above, 0.0)
        count = of_negatives.sum()
        ranking_error = count / (of_positives.sum() + count)
        ranking += ranking_error / len(positives)
        if count > 0:
            ranking_gradient[i] -= ranking_error
            ranking_gradient += of_negatives * ranking_error / count
        sorted_ = torch.where(y >= y[i], of_positives, 0.0)
        missorted = torch.where(y < y[i], of_positives, 0.0)
        current = (of_positives * (1 - y)).sum() / of_positives.sum()
        sorting_error = current - (sorted_ * (1 - y)).sum() / sorted_.sum()
        sorting += sorting_error / len(positives)
        if missorted.sum() > 1e-10:
            sorting_gradient[i] -= sorting_error
            sorting_gradient += missorted * sorting_error / missorted.sum()
    return [ranking, sorting, ranking_gradient / len(positives), sorting_gradient / len(positives)]
