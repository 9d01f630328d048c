"""Tables for people on a terminal."""

from collections.abc import Sequence

from rich.table import Table

from paploss.client.comparison import Comparison, Difference, RateResult
from paploss.client.numbers import difference, mean_and_deviation, percent


def comparison_table(comparison: Comparison) -> Table:
    """The losses beside each other; rewards in percent, differences are to the reference."""
    reference = comparison.reference
    columns = (
        "loss",
        f"{comparison.metric} ± sd, {comparison.split}",
        "seeds",
        "difference (95 %)",
        "rate",
        "COCO AP",
    )
    table = Table(*columns, box=None, padding=(0, 2), header_style="dim")
    for row in comparison.rows:
        rate = "" if row.learning_rate_factor is None else f"x {row.learning_rate_factor:g}"
        published = "" if row.published_ap is None else percent(row.published_ap)
        minus = "reference" if row.label == reference else _signed(row.difference)
        seeds = f"{len(row.rewards)}/{len(comparison.seeds)}" if row.loss else ""
        style = "bold" if row.label == reference else ""
        table.add_row(
            row.label, mean_and_deviation(row.mean, row.standard_deviation), seeds, minus, rate, published, style=style
        )
    return table


def rate_table(comparison: Comparison) -> Table:
    """The learning-rate check: rewards on the split `val` by factor, one for each seed, and the factor chosen."""
    factors = sorted({result.factor for row in comparison.rows for result in row.rate_check})
    columns = (
        f"learning-rate check, {comparison.metric} on val",
        *(f"x {factor:g}" for factor in factors),
        "chosen",
    )
    table = Table(*columns, box=None, padding=(0, 2), header_style="dim")
    for row in comparison.rows:
        if row.rate_check:
            chosen = "–" if row.learning_rate_factor is None else f"x {row.learning_rate_factor:g}"
            table.add_row(row.label, *(_rewards_at(factor, row.rate_check) for factor in factors), chosen)
    return table


def _rewards_at(factor: float, results: Sequence[RateResult]) -> str:
    return ", ".join(percent(result.ap) for result in results if result.factor == factor) or "–"


def _signed(found: Difference | None) -> str:
    if found is None:
        return "–"
    return difference(found.mean, found.interval) + ("" if found.interval else " (one seed)")
