"""Tables for people on a terminal."""

from rich.table import Table

from paploss.client.comparison import Comparison, Difference, Row


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
        published = "" if row.published_ap is None else f"{100 * row.published_ap:.1f}"
        difference = "reference" if row.label == reference else _signed(row.difference)
        seeds = f"{len(row.rewards)}/{len(comparison.seeds)}" if row.loss else ""
        style = "bold" if row.label == reference else ""
        table.add_row(row.label, _measured(row), seeds, difference, rate, published, style=style)
    return table


def rate_table(comparison: Comparison) -> Table:
    """The learning-rate check: the reward on the split `val` by factor, and the factor that was chosen."""
    factors = sorted({result.factor for row in comparison.rows for result in row.rate_check})
    columns = (
        f"learning-rate check, {comparison.metric} on val",
        *(f"x {factor:g}" for factor in factors),
        "chosen",
    )
    table = Table(*columns, box=None, padding=(0, 2), header_style="dim")
    for row in comparison.rows:
        aps = {result.factor: result.ap for result in row.rate_check}
        if aps:
            chosen = "–" if row.learning_rate_factor is None else f"x {row.learning_rate_factor:g}"
            table.add_row(row.label, *(_percent(aps.get(factor)) for factor in factors), chosen)
    return table


def _measured(row: Row) -> str:
    spread = "" if row.standard_deviation is None else f" ± {100 * row.standard_deviation:.1f}"
    return f"{_percent(row.mean)}{spread}"


def _signed(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    if difference.interval is None:
        return f"{100 * difference.mean:+.1f} (one seed)"
    low, high = difference.interval
    return f"{100 * difference.mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _percent(ap: float | None) -> str:
    return "–" if ap is None else f"{100 * ap:.1f}"
