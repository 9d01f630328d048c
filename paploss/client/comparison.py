"""What a comparison comes to, as the API answers it and the figure draws it. No statistics: clients read it too."""

from paploss.client.csv_lines import csv_line
from paploss.client.verdict import Verdict
from paploss.jobs.messages import Fraction, Message


class RateResult(Message):
    """A training of the learning-rate check; no reward where it has not ended, or failed."""

    factor: float
    ap: Fraction | None
    """Of the comparison's metric."""
    seed: int = 0


class Difference(Message):
    """Mean of (this loss - the reference) over the seeds that both have."""

    mean: float
    interval: tuple[float, float] | None
    """95 %; none with fewer than two seeds."""
    seeds: int


class Row(Message):
    """One loss. Rewards are fractions in [0, 1]."""

    label: str
    loss: str | None
    """None for a published row that cannot be trained here."""
    rewards: dict[int, Fraction]
    """By seed."""
    failed: tuple[int, ...]
    """Seeds whose training ended without a reward."""
    mean: float | None
    standard_deviation: float | None
    """Over the seeds; none with fewer than two."""
    interval: tuple[float, float] | None
    """95 %, of the mean; none with fewer than two seeds."""
    difference: Difference | None
    """To the reference; none for itself, and where no seed is shared."""
    learning_rate_factor: float | None
    """On the profile's rate, as its trainings have it; none before it is chosen."""
    rate_check: tuple[RateResult, ...]
    published_ap: Fraction | None
    """On COCO, with ResNet-50 and FPN; none where another metric than AP is compared."""
    remark: str


class Comparison(Message):
    """All losses of a comparison, in the order of the request; published rows that cannot be trained come last."""

    profile: str
    dataset: str
    split: str
    schedule: str
    seeds: tuple[int, ...]
    reference: str
    """Label of the loss that the others are compared with."""
    metric: str = "AP"
    """Name of what is compared."""
    rows: tuple[Row, ...]
    verdict: Verdict | None = None
    """Which loss to use; none before all trainings have ended."""
    environments: tuple[dict[str, str], ...] = ()
    """Versions, commit and device of the trainers; each distinct one once."""


_REACH = 0.25
"""How far an interval may stretch the axis beyond the APs, as a part of their span."""
_COLUMNS = (
    *("label", "loss", "metric", "mean", "standard_deviation", "low", "high"),
    *("difference", "difference_low", "difference_high", "difference_seeds"),
    *("learning_rate_factor", "published_ap"),
)


def find_axis(comparison: Comparison) -> tuple[float, float]:
    """The part of the metric's axis, in percent, that shows every mean and seed and most of the intervals.

    Not all of them: two seeds that disagree give an interval from below 0 to above 100, beside which nothing is seen.
    """
    values = [100 * ap for row in comparison.rows for ap in (*row.rewards.values(), row.mean) if ap is not None]
    if not values:
        return 0.0, 100.0
    low, high = min(values), max(values)
    reach = max(_REACH * (high - low), 1.0)
    ends = [100 * end for row in comparison.rows for end in row.interval or ()]
    low = max(min([low, *ends]), low - reach, 0.0)
    high = min(max([high, *ends]), high + reach)
    space = 0.03 * (high - low) or 1.0  # for the marks at the edge
    return low - space, high + space


def write_csv(comparison: Comparison) -> str:
    """One line a loss; rewards are fractions, and what was not measured is empty."""
    lines = [csv_line([*_COLUMNS, *(f"seed_{seed}" for seed in comparison.seeds), "remark"])]
    for row in comparison.rows:
        difference: tuple[float | None, ...] = (None, None, None, None)
        if row.difference is not None:
            difference = (row.difference.mean, *_ends(row.difference.interval), row.difference.seeds)
        values = [
            *(
                row.label,
                row.loss,
                comparison.metric,
                row.mean,
                row.standard_deviation,
                *_ends(row.interval),
                *difference,
            ),
            *(row.learning_rate_factor, row.published_ap),
            *(row.rewards.get(seed) for seed in comparison.seeds),
            row.remark,
        ]
        lines.append(csv_line(values))
    return "".join(lines)


def _ends(interval: tuple[float, float] | None) -> tuple[float | None, float | None]:
    return interval or (None, None)
