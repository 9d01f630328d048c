"""What a detector head minimises when its loss ranks: from a head's flat outputs to named scalar losses.

| symbol | meaning                                                                               | shape    |
|--------|---------------------------------------------------------------------------------------|----------|
| M, C   | candidates (anchors or proposals) of all images of a device, and classes              |          |
| N      | M * C entries, each a logit that competes with all others                             |          |
| P      | positives: candidates with an object's label; one entry of each is positive           |          |
| u, E   | localisation quality of a positive, see `paploss.trainer.heads.quality`, and regression error | `[P]`    |
| s      | logit of a positive's own entry                                                       | `[P]`    |
| tau    | IoU from which a candidate may be positive                                            |          |

With GIoU = 2 u - 1:  aLRP has E = (1 - GIoU) / (2 (1 - tau)) = (1 - u) / (1 - tau); Rank & Sort's box loss is
sum of sigmoid(s) (1 - GIoU) / sum of sigmoid(s), with sigmoid(s) and its weight (L_R + L_S) / L_box detached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import torch
from torch import Tensor, nn

from paploss.jobs.spec import Quality
from paploss.losses import ALRPLoss, ap_loss, handmade_ap_loss, parameterized_ap_loss, rank_sort_loss
from paploss.trainer.distributed import gather_with_gradient
from paploss.trainer.heads.autocast import without_autocast
from paploss.trainer.heads.gradient import scale_gradient
from paploss.trainer.heads.quality import EPSILON, box_quality, decode_unit

RankingName = Literal["parameterized_ap", "handmade_ap", "ap_l1", "alrp", "rank_sort"]

LOSS_PARTS: Final[dict[RankingName, tuple[str, ...]]] = {
    "parameterized_ap": ("loss_rank",),
    "handmade_ap": ("loss_rank",),
    "ap_l1": ("loss_cls", "loss_bbox"),
    "alrp": ("loss_cls", "loss_bbox"),
    "rank_sort": ("loss_rank", "loss_sort", "loss_bbox"),
}
"""The names of what each loss returns."""

SMALLEST_IOU = 1e-6
"""Stands for the IoU 0 of a positive, which Rank & Sort would take for a negative."""


@dataclass(frozen=True)
class _Batch:
    """The entries of a batch, and its positives in the order of index."""

    logits: Tensor
    """`[N]`."""
    targets: Tensor
    """1 positive, 0 negative, -1 ignored, `[N]` int8."""
    entries: Tensor
    """Index of each positive among the N, `[P]` int64."""
    deltas: Tensor
    """`[P, 4]`, as the coder normalises them."""
    delta_targets: Tensor
    """`[P, 4]`."""
    quality: Tensor
    """u, `[P]`; the gradient flows to the deltas."""
    iou: Tensor
    """IoU of each positive, `[P]`, without a gradient."""


class RankingObjective(nn.Module):
    """A ranking loss and its box part, for the outputs of any head with sigmoid classes.

    Args:
        name: which loss.
        means: of the coder that normalises the deltas, 4 numbers.
        stds: its standard deviations, 4 numbers.
        control_points: `[4 | 5, K+2, 2]`, for `parameterized_ap` and no other.
        form: for `handmade_ap` and no other: `sigmoid`, `linear` or `square`.
        top_k: for these two: if given, only the k largest logits compete.
        quality: for these two: measure of localisation, see `paploss.trainer.heads.quality`.
        gradient_scale: factor on the gradient that reaches the box outputs; the values stay.
        positive_iou: tau, for `alrp`.
        weight: factor on every loss.
        gather_scores: rank the entries of all devices together, as one device with all their images would; else those
            of each device by themselves, and training takes the mean of the devices' gradients.

    Raises:
        ValueError: `name` is not known, or its parameters are missing.
    """

    means: Tensor
    stds: Tensor
    control_points: Tensor | None

    def __init__(
        self,
        *,
        name: RankingName,
        means: Sequence[float],
        stds: Sequence[float],
        control_points: Sequence[Sequence[Sequence[float]]] | None = None,
        form: Literal["sigmoid", "linear", "square"] | None = None,
        top_k: int | None = None,
        quality: Quality = "giou",
        gradient_scale: float = 1.0,
        positive_iou: float = 0.5,
        weight: float = 1.0,
        gather_scores: bool = False,
    ) -> None:
        super().__init__()
        if name not in LOSS_PARTS:
            raise ValueError(f"name: expected one of {', '.join(LOSS_PARTS)}, got {name!r}")
        if (name == "parameterized_ap") != (control_points is not None):
            raise ValueError(f"control_points: expected for parameterized_ap and for no other loss, got {name!r}")
        if (name == "handmade_ap") != (form is not None):
            raise ValueError(f"form: expected for handmade_ap and for no other loss, got {name!r}")
        self.name: RankingName = name
        # Not in the state: the job says what they are. In float64, from which each dtype gets its nearest number.
        for constant, values in (("means", means), ("stds", stds), ("control_points", control_points)):
            tensor = None if values is None else torch.tensor(values, dtype=torch.float64)
            self.register_buffer(constant, tensor, persistent=False)
        self.form = form
        self.top_k = top_k
        self.quality: Quality = quality if name in ("parameterized_ap", "handmade_ap") else "giou"
        self.gradient_scale = gradient_scale
        self.positive_iou = positive_iou
        self.weight = weight
        self.gather_scores = gather_scores
        if name == "alrp":
            self.alrp = ALRPLoss()

    @without_autocast
    def forward(
        self, logits: Tensor, labels: Tensor, label_weights: Tensor, deltas: Tensor, delta_targets: Tensor
    ) -> dict[str, Tensor]:
        """The losses of M candidates, computed in float32, or in float64 where that is given.

        Args:
            logits: `[M, C]`.
            labels: `[M]` int64, a class in [0, C), or C for background.
            label_weights: `[M]`; 0 leaves a candidate out, in all classes.
            deltas: `[M, 4]`, or `[M, C, 4]` where each class has its own box; as the coder normalises them.
            delta_targets: `[M, 4]`, read at positives.

        Returns:
            Scalars named as in LOSS_PARTS. Each has a graph to logits and deltas, also without a positive, where all
            are 0. All are NaN where an input is not finite, so that the trainer sees it.
        """
        # Ties every output into the graph, also those without a positive: parallel training waits for each gradient.
        tie = logits.sum() + deltas.sum()
        batch = self._collect(logits, labels, label_weights, deltas, delta_targets)
        if self.gather_scores:
            batch = _of_all_devices(batch)
        if not (tie + batch.logits.detach().sum() + batch.quality.detach().sum()).isfinite():
            return dict.fromkeys(LOSS_PARTS[self.name], tie * torch.nan)
        values = self._losses(batch)
        return {part: self.weight * value + 0 * tie for part, value in zip(LOSS_PARTS[self.name], values, strict=True)}

    def _collect(
        self, logits: Tensor, labels: Tensor, label_weights: Tensor, deltas: Tensor, delta_targets: Tensor
    ) -> _Batch:
        class_count = logits.shape[1]
        positives = ((labels < class_count) & (label_weights > 0)).nonzero().squeeze(1)
        classes = labels[positives]
        entries = positives * class_count + classes
        targets = (label_weights > 0).to(torch.int8) - 1
        targets = targets[:, None].expand_as(logits).flatten().index_fill_(0, entries, 1)
        own = deltas[positives] if deltas.ndim == 2 else deltas[positives, classes]
        own, own_targets = scale_gradient(own, self.gradient_scale), delta_targets[positives]
        scale, shift = self.stds.to(own.dtype), self.means.to(own.dtype)
        boxes, target_boxes = decode_unit(own * scale + shift), decode_unit(own_targets * scale + shift)
        quality = box_quality(boxes, target_boxes, self.quality)
        iou = box_quality(boxes.detach(), target_boxes, "iou")
        return _Batch(logits.flatten(), targets, entries, own, own_targets, quality, iou)

    def _losses(self, batch: _Batch) -> tuple[Tensor, ...]:
        """The values in the order of LOSS_PARTS."""
        count = len(batch.entries)
        if self.name in ("parameterized_ap", "handmade_ap"):
            return (self._quality_ranked(batch),)
        if self.name == "ap_l1":
            distance = (batch.deltas - batch.delta_targets).abs().sum() / max(1, count)
            return ap_loss(batch.logits, batch.targets), distance
        if self.name == "alrp":
            errors = (1 - batch.quality) / (1 - self.positive_iou)
            classification, regression = self.alrp(batch.logits, batch.targets, errors)
            return classification, regression
        scores = batch.logits[batch.entries].detach().sigmoid()
        giou_error = 2 * (1 - batch.quality)
        targets = batch.targets.to(batch.iou.dtype).index_copy_(0, batch.entries, batch.iou.clamp_min(SMALLEST_IOU))
        ranking, sorting = rank_sort_loss(batch.logits, targets)
        box = (scores * giou_error).sum() / scores.sum().clamp_min(EPSILON)
        weight = (ranking + sorting).detach() / box.detach().clamp_min(EPSILON)
        return ranking, sorting, weight * box

    def _quality_ranked(self, batch: _Batch) -> Tensor:
        if self.form is not None:
            return handmade_ap_loss(batch.logits, batch.quality, batch.targets, self.form, self.top_k)
        points = cast(Tensor, self.control_points)
        return parameterized_ap_loss(batch.logits, batch.quality, batch.targets, points, self.top_k)


def _of_all_devices(batch: _Batch) -> _Batch:
    """The batches of all devices as one, in the order of the ranks; the gradient flows back to this device's part.

    Sent are 5 bytes for each entry and 40 for each positive, in float32. Collective: every device calls it, also one
    without a positive.
    """
    targets = gather_with_gradient(batch.targets)
    boxes = (batch.deltas, batch.delta_targets, batch.quality[:, None], batch.iou[:, None])
    rows = gather_with_gradient(torch.cat(boxes, dim=1))
    return _Batch(
        logits=gather_with_gradient(batch.logits),
        targets=targets,
        entries=(targets == 1).nonzero().squeeze(1),
        deltas=rows[:, :4],
        delta_targets=rows[:, 4:8],
        quality=rows[:, 8],
        iou=rows[:, 9].detach(),
    )
