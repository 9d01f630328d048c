"""The statistics of a comparison: every loss over the same seeds, each against one reference.

Two losses trained with the same seed share the sample order and the initial weights, so what the seed adds to both
cancels in their difference. Losses are therefore judged by the mean paired difference d over the shared seeds, with the
interval d ± t s / sqrt(n), where s is the standard deviation of the n differences and t the 0.975 quantile of Student's
distribution with n - 1 degrees of freedom. Each interval is for one difference by itself: of twenty losses that are
truly equal to the reference, one lies outside on average.

What was not measured stays empty: one seed has no spread and no interval, and a failed training has no reward. A
diverged one has a reward of 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from paploss.client.comparison import Difference, RateResult, Row
from paploss.controller.search.selection import mean_interval
from paploss.jobs.losses import LossSpec, ParameterizedAP
from paploss.jobs.presets import published_for
from paploss.jobs.profiles import PROFILES, Detector
from paploss.jobs.published_results import PUBLISHED_RESULTS


@dataclass(frozen=True)
class Measured:
    """What is known of one loss."""

    label: str
    loss: LossSpec
    rewards: Mapping[int, float] = field(default_factory=dict)
    """By seed, of the trials that ended with one."""
    failed: Sequence[int] = ()
    diverged: Sequence[int] = ()
    learning_rate_factor: float | None = None
    rate_check: Sequence[RateResult] = ()
    is_checked_briefly: bool = False
    """Whether the check of its learning rate trained for fewer iterations than what is compared."""


def compare(measured: Sequence[Measured], reference: str, profile: str, metric: str = "AP") -> tuple[Row, ...]:
    """The rows of a comparison, then the published ones that cannot be trained here.

    Args:
        measured: the losses, in order.
        reference: the label of one of them.
        profile: a name in PROFILES, which says which published results are comparable.
        metric: name of what was measured. Published is AP alone.
    """
    rewards = next(one.rewards for one in measured if one.label == reference)
    rows = [_compare_one(one, None if one.label == reference else rewards, profile, metric) for one in measured]
    return (*rows, *(_untrainable(PROFILES[profile].detector) if metric == "AP" else ()))


def paired_difference(rewards: Mapping[int, float], reference: Mapping[int, float]) -> Difference | None:
    """Mean of rewards - reference over the seeds that both have; None where there is no such seed."""
    shared = sorted(set(rewards) & set(reference))
    if not shared:
        return None
    differences = [rewards[seed] - reference[seed] for seed in shared]
    return Difference(mean=float(np.mean(differences)), interval=mean_interval(differences), seeds=len(shared))


def _compare_one(one: Measured, reference: Mapping[int, float] | None, profile: str, metric: str) -> Row:
    values = list(one.rewards.values())
    return Row(
        label=one.label,
        loss=one.loss.name,
        rewards=dict(one.rewards),
        failed=tuple(one.failed),
        mean=float(np.mean(values)) if values else None,
        standard_deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        interval=mean_interval(values),
        difference=None if reference is None else paired_difference(one.rewards, reference),
        learning_rate_factor=one.learning_rate_factor,
        rate_check=tuple(one.rate_check),
        published_ap=_published_ap(one.loss, profile) if metric == "AP" else None,
        remark="; ".join(_remarks(one, metric)),
    )


def _remarks(one: Measured, metric: str) -> list[str]:
    remarks = []
    if one.failed:
        remarks.append(f"{_name_seeds(one.failed)} ended without a result")
    if one.diverged:
        remarks.append(f"diverged with {_name_seeds(one.diverged)}: {metric} 0")
    if len(one.rewards) == 1:
        remarks.append("one seed: no spread, no interval")
    if one.learning_rate_factor is not None and one.rate_check:
        remarks += _rate_remarks(one, one.learning_rate_factor)
    return remarks


def _rate_remarks(one: Measured, chosen: float) -> list[str]:
    measured = [result.factor for result in one.rate_check if result.ap is not None]
    if not measured:
        return ["no learning-rate check ended with a result: trained at the profile's rate"]
    ends = {min(measured): "smallest", max(measured): "largest"}
    if len(ends) < 2 or chosen not in ends:
        return []
    remark = f"its learning rate is the {ends[chosen]} that was tried: a better one may lie beyond"
    if ends[chosen] == "largest" and one.is_checked_briefly:
        # A rate above the profile's that is best in shorter trainings may be too high, so 1 may well be the largest.
        return [] if chosen == 1 else [f"{remark}, or it is too high, for it was tried in shorter trainings"]
    return [remark]


def _published_ap(loss: LossSpec, profile: str) -> float | None:
    card = PROFILES[profile]
    if isinstance(loss, ParameterizedAP) and loss != published_for(profile):
        return None  # the published number is of the published parameters alone
    found = (row.ap for row in PUBLISHED_RESULTS if row.detector == card.detector and row.loss is type(loss))
    return next(found, None)


def _untrainable(detector: Detector | None) -> list[Row]:
    return [
        Row(
            label=row.title,
            loss=None,
            rewards={},
            failed=(),
            mean=None,
            standard_deviation=None,
            interval=None,
            difference=None,
            learning_rate_factor=None,
            rate_check=(),
            published_ap=row.ap,
            remark=f"not trained: {row.remark}",
        )
        for row in PUBLISHED_RESULTS
        if row.detector == detector and row.loss is None
    ]


def _name_seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
