"""Parameterized AP Loss (Tao et al., NeurIPS 2021) with fixed parameters. Needs torch and nothing else.

    loss = HeadLoss("bbox_head")(logits, labels, boxes, box_targets, corners)
    loss = ParameterizedAPLoss("bbox_head")(logits, quality, targets)

The first is all that a head minimises: its gradient scale and added terms are in it. The second ranks and no more.
logits: [N], every anchor x class of all images together. targets: [N], 1 positive, 0 negative, -1 ignored. quality:
[N], in [0, 1] at the positives and read nowhere else: (GIoU + 1) / 2, IoU or l1 of the decoded box, as HEADS says.
Multiply the gradient that reaches the box output by the head's gradient scale (`scale_gradient`), and add `box_terms`
where the head is in EXTENSIONS. Value and gradient are exact, in O(N log N + P K log N) time and O(N + P K) memory for
P positives and K knots.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Head: quality, gradient scale, interior knots x, y, x, y, ... of the functions H2, I2, I3, I1, H1.
HEADS = {"bbox_head": ("giou", 1.0, [[0.5, 0.5]] * 5)}
# Of heads that have them: weights of added box terms; error_driven ranks with AP Loss in place of the functions.
EXTENSIONS: dict[str, dict[str, float]] = {}


class ParameterizedAPLoss(torch.nn.Module):
    """The loss of one head. A segment narrower than 1e-7 is a jump at its left end; sums are in float64."""

    def __init__(self, head: str) -> None:
        super().__init__()
        rows = [[0.0, 0.0, *knots, 1.0, 1.0] for knots in HEADS[head][2]]
        x, y = torch.tensor(rows, dtype=torch.float64).view(len(rows), -1, 2).unbind(2)
        x = x.masked_fill(x < 1e-7, 0).masked_fill(x > 1 - 1e-7, 1)
        width, rise = x.diff(append=x[:, -1:] + 1), y.diff(append=y[:, -1:])  # nothing changes right of the last knot
        slopes = torch.where(width < 1e-7, 0, rise / width.clamp_min(1e-7))
        jumps = torch.where(width < 1e-7, rise, 0)
        self.error_driven = EXTENSIONS.get(head, {}).get("error_driven", False)
        # No buffer: a model that is cast to half precision would round it, and then minimise another loss.
        self.functions = torch.stack((x, y, slopes, jumps), 1)

    def forward(self, logits: Tensor, quality: Tensor, targets: Tensor) -> Tensor:
        """A scalar of the logits' dtype, at least float32; 0 without a positive."""
        if not logits.shape == quality.shape == targets.shape == targets.flatten().shape:
            raise ValueError(f"expected one shape [N], got {logits.shape}, {quality.shape}, {targets.shape}")
        if self.error_driven:
            return _ap_loss(logits.double(), targets).to(torch.promote_types(logits.dtype, torch.float32))
        h2, i2, i3, i1, h1 = self.functions.to(logits.device).unbind()
        s, positive = logits.double(), targets == 1
        s_i, u = s[positive], quality[positive].double()
        loss = s[:0].sum() + u[:0].sum()
        if len(s_i) > 0:
            near = (targets >= 0) & ~(s <= s_i.min() - 1)  # to the others, H1 and H2 are 0
            s_j, order = s[near].clamp(max=s_i.max().detach() + 2).sort()
            w = torch.ones_like(s).masked_scatter(positive, 1 - _of_quality(i2, u))
            a = _sums(h2, s_i, s_j, w[near][order])
            b = _sums(h1, s_i.detach(), s_j.detach(), torch.ones_like(s_j)).clamp_min(1e-6)
            loss = (1 - _of_quality(i1, u) + _of_quality(i3, u) * a / b).sum() / (len(s_i) + 1e-8)
        return loss.to(torch.promote_types(logits.dtype, torch.float32))


def scale_gradient(output: Tensor, factor: float) -> Tensor:
    """The same values; the gradient that comes back is multiplied by `factor`."""
    return factor * output + ((1 - factor) * output).detach()


def box_terms(head: str, errors: Tensor, giou: Tensor) -> Tensor:
    """What is added to a head's loss, a scalar. Of the positives: errors [P, 4], the box outputs minus their targets;
    giou [P], the GIoU of their decoded boxes."""
    extensions, count = EXTENSIONS.get(head, {}), max(1, len(giou))
    l1, weight = extensions.get("l1_weight", 0.0), extensions.get("giou_weight", 0.0)
    return (l1 * errors.abs().sum() + weight * (1 - giou).sum()) / count


class HeadLoss(torch.nn.Module):
    """All that a head minimises, from the outputs of M candidates (anchors, proposals or queries) of all images."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.head, self.ranking = head, ParameterizedAPLoss(head)

    def forward(
        self, logits: Tensor, labels: Tensor, boxes: Tensor, box_targets: Tensor, corners: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """A scalar with a graph to all outputs, computed without autocast.

        logits: [M, C], sigmoid classes without background. labels: [M], a class, C for background, -1 ignored.
        boxes, box_targets: [M, 4] box outputs and what they should be, read where there is a class. corners: from box
        outputs [n, 4] to (x1, y1, x2, y2) [n, 4], in any unit that both boxes of a pair share.
        """
        with torch.autocast(logits.device.type, enabled=False):
            logits, boxes, box_targets = (
                one.to(torch.promote_types(one.dtype, torch.float32)) for one in (logits, boxes, box_targets)
            )
            kind, factor, _ = HEADS[self.head]
            positives = ((labels >= 0) & (labels < logits.shape[1])).nonzero()[:, 0]
            targets = torch.where(labels < 0, -1, 0)[:, None].expand_as(logits).contiguous()
            targets[positives, labels[positives]] = 1
            own = scale_gradient(boxes[positives], factor)
            iou, giou, distance = _overlaps(corners(own), corners(box_targets[positives]))
            fit = {"giou": ((giou + 1) / 2).clamp(0, 1), "iou": iou, "l1": (1 - distance).clamp(0, 1)}[kind]
            quality = torch.zeros_like(logits).index_put((positives, labels[positives]), fit.to(logits.dtype))
            loss: Tensor = self.ranking(logits.flatten(), quality.flatten(), targets.flatten())
            return loss + box_terms(self.head, own - box_targets[positives], giou) + 0 * (logits.sum() + boxes.sum())


def _overlaps(boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """IoU, GIoU and L1 distance of pairs of corners [n, 4], [n] each."""
    common = (torch.minimum(boxes[:, 2:], targets[:, 2:]) - torch.maximum(boxes[:, :2], targets[:, :2])).clamp(min=0)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, targets)]
    union = (areas[0] + areas[1] - common.prod(1)).clamp(min=1e-7)
    sides = torch.maximum(boxes[:, 2:], targets[:, 2:]) - torch.minimum(boxes[:, :2], targets[:, :2])
    hull, iou = sides.prod(1).clamp(min=1e-7), common.prod(1) / union
    return iou, iou - (hull - union) / hull, (boxes - targets).abs().sum(1)


def _ap_loss(s: Tensor, targets: Tensor) -> Tensor:
    """AP Loss (Chen et al., CVPR 2019) with its error-driven gradient; s: [N] float64."""
    s_i, order = s.detach()[targets == 1].sort()
    if len(s_i) == 0:
        return s[:0].sum()
    near = (targets == 0) & ~(s <= s_i[0] - 1)
    s_j = s.detach()[near].clamp(max=s_i[-1] + 2)
    ramp = s.new_tensor([[0, 1], [0, 1], [1, 0], [0, 0]])
    above = _sums(ramp, s_i, s_j.sort().values, torch.ones_like(s_j)).clamp_min(0)
    share = above / (_sums(ramp, s_i, s_i, torch.ones_like(s_i)) + 0.5 + above)
    errors = share.cummin(0).values / len(s_i)  # interpolated
    moves = torch.where(above > 0, errors / above.clamp_min(1e-300), 0)
    gradient = torch.zeros_like(s)
    gradient[(targets == 1).nonzero()[order, 0]] = -errors
    gradient[near] = moves.sum() - _sums(ramp, s_j, s_i, moves)
    finite = s.masked_fill(s.isinf(), 0)
    return errors.sum() + (gradient * (finite - finite.detach())).sum()


def _of_quality(function: Tensor, u: Tensor) -> Tensor:
    x, y, slopes, jumps = function.unbind()
    left = (torch.bucketize(u.detach(), x) - 1).clamp_min(0)
    value = y[left] + jumps[left] + slopes[left] * (u - x[left])
    exact = value.detach().masked_fill(u <= 0, 0).masked_fill(u >= 1, 1)
    return value + (exact - value.detach())


def _sums(function: Tensor, s_i: Tensor, s_j: Tensor, w_j: Tensor) -> Tensor:
    """sum_j w_j f(s_j - s_i) for each i, given ascending s_j: f is a sum of steps and ramps, so suffix sums suffice."""
    x, _, slopes, jumps = function.unbind()
    at_end = torch.where(x >= 1, jumps, 0).sum()  # due at z = 1 itself, where other jumps are due right of their knot
    b = s_i[:, None] + (2 * x - 1)
    first = torch.searchsorted(s_j.detach(), b.detach(), right=True)
    reached = torch.searchsorted(s_j.detach(), b[:, -1].detach().contiguous())
    counts, sums = (torch.nn.functional.pad(v.flip(0).cumsum(0).flip(0), (0, 1)) for v in (w_j, w_j * s_j))
    ramps = slopes.diff(prepend=slopes.new_zeros(1)) / 2 * (sums[first] - b * counts[first])
    return (jumps.masked_fill(x >= 1, 0) * counts[first] + ramps).sum(1) + at_end * counts[reached]
