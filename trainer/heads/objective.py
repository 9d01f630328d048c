"""What a detector head minimises when its loss ranks: from the entries of a batch to named scalar losses.

| symbol | meaning                                                                                       | shape |
|--------|-----------------------------------------------------------------------------------------------|-------|
| N, P   | entries and positives, see `paploss.trainer.heads.ranked`                                     |       |
| u, E   | localisation quality of a positive, see `paploss.trainer.heads.quality`, and regression error | `[P]` |
| s      | logit of a positive's own entry                                                               | `[P]` |
| tau    | IoU from which a candidate may be positive                                                    |       |

With GIoU = 2 u - 1:  aLRP has E = (1 - GIoU) / (2 (1 - tau)) = (1 - u) / (1 - tau); Rank & Sort's box loss is
sum of sigmoid(s) (1 - GIoU) / sum of sigmoid(s), with sigmoid(s) and its weight (L_R + L_S) / L_box detached.

To the Parameterized AP Loss, box terms w_1 mean_i |d_i| + w_2 mean_i (1 - GIoU_i) can be added, d the box errors, and
AP Loss can take the place of its formula (error-driven): with that, w_1 = 1 and w_2 = 0, it is AP Loss + L1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import Tensor

from paploss.jobs.losses import ALRP, APL1, LOSSES, Form, HandmadeAP, ParameterizedAP, Quality, RankingLoss, RankSort
from paploss.losses import ALRPLoss, ap_loss, handmade_ap_loss, parameterized_ap_loss, rank_sort_loss
from paploss.losses.buffers import Float64Buffers
from paploss.trainer.distributed import gather_with_gradient
from paploss.trainer.heads.quality import EPSILON
from paploss.trainer.heads.ranked import Ranked, rank

SMALLEST_IOU = 1e-6
"""Stands for the IoU 0 of a positive, which Rank & Sort would take for a negative."""


class RankingObjective(Float64Buffers):
    """A ranking loss and its box part, for the entries of any head with sigmoid classes.

    Args:
        name: which loss.
        control_points: `[4 | 5, K+2, 2]`, for `parameterized_ap` and no other.
        form: for `handmade_ap` and no other: `sigmoid`, `linear` or `square`.
        top_k: for these two: if given, only the k largest logits compete.
        quality: for these two: measure of localisation, see `paploss.trainer.heads.quality`. The others have GIoU.
        gradient_scale: factor on the gradient that reaches the box outputs; the values stay.
        l1_weight: w_1, for `parameterized_ap`.
        giou_weight: w_2, for `parameterized_ap`.
        error_driven: for `parameterized_ap`: whether it ranks with AP Loss.
        positive_iou: tau, for `alrp`.
        weight: factor on every loss.
        gather_scores: rank the entries of all devices together, as one device with all their images would; else those
            of each device by themselves, and training takes the mean of the devices' gradients.

    Raises:
        ValueError: `name` is not known, or its parameters are missing.
    """

    control_points: Tensor | None

    def __init__(
        self,
        name: str,
        *,
        control_points: Sequence[Sequence[Sequence[float]]] | None = None,
        form: Form | None = None,
        top_k: int | None = None,
        quality: Quality = "giou",
        gradient_scale: float = 1.0,
        l1_weight: float = 0.0,
        giou_weight: float = 0.0,
        error_driven: bool = False,
        positive_iou: float = 0.5,
        weight: float = 1.0,
        gather_scores: bool = False,
    ) -> None:
        super().__init__()
        if name not in OBJECTIVES:
            raise ValueError(f"name: expected one of {', '.join(OBJECTIVES)}, got {name!r}")
        objective = OBJECTIVES[name]
        for argument, value in (("control_points", control_points), ("form", form)):
            if (objective.needs == argument) != (value is not None):
                needing = next(other for other, one in OBJECTIVES.items() if one.needs == argument)
                raise ValueError(f"{argument}: expected for {needing} and for no other loss, got {name!r}")
        self.name = name
        self.parts = objective.loss.parts
        # Not in the state: the job says what they are.
        points = None if control_points is None else torch.tensor(control_points, dtype=torch.float64)
        self.register_buffer("control_points", points, persistent=False)
        self.form = form
        self.top_k = top_k
        self.quality: Quality = quality if objective.needs else "giou"
        self.gradient_scale = gradient_scale
        self.l1_weight, self.giou_weight, self.error_driven = l1_weight, giou_weight, error_driven
        self.positive_iou = positive_iou
        self.weight = weight
        self.gather_scores = gather_scores
        if name == "alrp":
            self.alrp = ALRPLoss()

    def losses_of(
        self,
        logits: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        boxes: Tensor,
        box_targets: Tensor,
        *,
        corners: Callable[[Tensor], Tensor],
    ) -> dict[str, Tensor]:
        """The losses of a head's outputs; arguments as of `paploss.trainer.heads.ranked.rank`."""
        ranked = rank(
            logits,
            labels,
            label_weights,
            boxes,
            box_targets,
            corners=corners,
            quality=self.quality,
            gradient_scale=self.gradient_scale,
        )
        losses: dict[str, Tensor] = self(ranked)
        return losses

    def forward(self, ranked: Ranked) -> dict[str, Tensor]:
        """The losses of a batch, computed in the dtype of its logits.

        Returns:
            Scalars by name, those of `parts`. Each has a graph to all outputs of the head, also without a positive,
            where all are 0. All are NaN where an output is not finite, so that the trainer sees it.
        """
        with torch.autocast(ranked.logits.device.type, enabled=False):
            tie = ranked.output_sum
            if self.gather_scores:
                ranked = _of_all_devices(ranked)
            if not (tie + ranked.logits.detach().sum() + ranked.quality.detach().sum()).isfinite():
                return dict.fromkeys(self.parts, tie * torch.nan)
            values = OBJECTIVES[self.name].values(self, ranked)
            return {part: self.weight * value + 0 * tie for part, value in zip(self.parts, values, strict=True)}


@dataclass(frozen=True)
class _Objective:
    loss: type[RankingLoss]
    values: Callable[[RankingObjective, Ranked], tuple[Tensor, ...]]
    """In the order of the loss's `parts`."""
    needs: str | None = None
    """The argument that it, and no other, must be given. Those that have one choose their measure of quality too."""


def _parameterized_ap(objective: RankingObjective, ranked: Ranked) -> tuple[Tensor, ...]:
    if objective.error_driven:
        loss = ap_loss(ranked.logits, ranked.targets)
    else:
        points = cast(Tensor, objective.control_points)
        loss = parameterized_ap_loss(ranked.logits, ranked.quality, ranked.targets, points, objective.top_k)
    if objective.l1_weight:
        loss = loss + objective.l1_weight * _mean_distance(ranked)
    if objective.giou_weight:
        loss = loss + objective.giou_weight * (1 - ranked.giou).sum() / max(1, len(ranked.giou))
    return (loss,)


def _handmade_ap(objective: RankingObjective, ranked: Ranked) -> tuple[Tensor, ...]:
    form = cast(Form, objective.form)
    return (handmade_ap_loss(ranked.logits, ranked.quality, ranked.targets, form, objective.top_k),)


def _ap_l1(_: RankingObjective, ranked: Ranked) -> tuple[Tensor, ...]:
    return ap_loss(ranked.logits, ranked.targets), _mean_distance(ranked)


def _mean_distance(ranked: Ranked) -> Tensor:
    """L1 of the box outputs, a mean over positives of sums over coordinates."""
    return ranked.errors.abs().sum() / max(1, len(ranked.errors))


def _alrp(objective: RankingObjective, ranked: Ranked) -> tuple[Tensor, ...]:
    errors = (1 - ranked.quality) / (1 - objective.positive_iou)
    classification, regression = objective.alrp(ranked.logits, ranked.targets, errors)
    return classification, regression


def _rank_sort(_: RankingObjective, ranked: Ranked) -> tuple[Tensor, ...]:
    entries = (ranked.targets == 1).nonzero().squeeze(1)
    scores = ranked.logits[entries].detach().sigmoid()
    giou_error = 2 * (1 - ranked.quality)
    targets = ranked.targets.to(ranked.iou.dtype).index_copy_(0, entries, ranked.iou.clamp_min(SMALLEST_IOU))
    ranking, sorting = rank_sort_loss(ranked.logits, targets)
    box = (scores * giou_error).sum() / scores.sum().clamp_min(EPSILON)
    weight = (ranking + sorting).detach() / box.detach().clamp_min(EPSILON)
    return ranking, sorting, weight * box


def _by_name(*objectives: _Objective) -> dict[str, _Objective]:
    """The objectives by the names of their losses, which must be all that rank."""
    by_loss = {objective.loss: objective for objective in objectives}
    ranking = {name: record for name, record in LOSSES.items() if issubclass(record, RankingLoss)}
    if missing := set(ranking.values()) - set(by_loss):
        raise TypeError(f"no objective for {', '.join(sorted(record.__name__ for record in missing))}")
    return {name: by_loss[record] for name, record in ranking.items()}


OBJECTIVES: Final = _by_name(
    _Objective(ParameterizedAP, _parameterized_ap, needs="control_points"),
    _Objective(HandmadeAP, _handmade_ap, needs="form"),
    _Objective(APL1, _ap_l1),
    _Objective(ALRP, _alrp),
    _Objective(RankSort, _rank_sort),
)


def _of_all_devices(ranked: Ranked) -> Ranked:
    """The batches of all devices as one, in the order of the ranks; the gradient flows back to this device's part.

    Sent are 5 bytes for each entry and 28 for each positive, in float32. Collective: every device calls it, also one
    without a positive.
    """
    columns = torch.stack((ranked.quality, ranked.giou, ranked.iou), dim=1)
    rows = gather_with_gradient(torch.cat((ranked.errors, columns), dim=1))
    return Ranked(
        logits=gather_with_gradient(ranked.logits),
        targets=gather_with_gradient(ranked.targets),
        quality=rows[:, 4],
        giou=rows[:, 5],
        iou=rows[:, 6].detach(),
        errors=rows[:, :4],
        output_sum=ranked.output_sum,
    )
