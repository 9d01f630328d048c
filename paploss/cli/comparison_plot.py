"""The plot of a comparison as a file: for papers and notes, where the page's figure cannot go. Needs matplotlib."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT, CARETRIGHT

from paploss.client.comparison import Comparison, find_axis
from paploss.client.numbers import percent
from paploss.controller.web.style import PALETTES

_COLOURS = PALETTES["light"]
_ROW_INCHES, _FRAME_INCHES, _WIDTH_INCHES = 0.42, 1.2, 8.4
_DPI = 150


def plot_comparison(comparison: Comparison, file: Path) -> None:
    """Draw means with their 95 % intervals, a dot for each seed, and the published COCO AP in a panel of its own.

    Args:
        comparison: at least one row.
        file: its suffix says the format (.png, .svg, .pdf).
    """
    height = _FRAME_INCHES + _ROW_INCHES * len(comparison.rows)
    figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    has_published = any(row.published_ap is not None for row in comparison.rows)
    panels = figure.subplots(
        1, 1 + has_published, sharey=True, squeeze=False, width_ratios=(4, 1) if has_published else None
    )[0]
    _draw_measured(panels[0], comparison)
    if has_published:
        _draw_published(panels[1], comparison)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=_COLOURS.grid, linewidth=0.8)
        axes.set_axisbelow(True)
    figure.savefig(file, dpi=_DPI)


def _draw_measured(axes: Axes, comparison: Comparison) -> None:
    low, high = find_axis(comparison)
    for place, row in enumerate(comparison.rows):
        colour = _COLOURS.best if row.label == comparison.reference else _COLOURS.mean
        values = [100 * ap for ap in row.rewards.values()]
        axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.4, markersize=5, markeredgewidth=0)
        if row.mean is None:
            axes.annotate(row.remark, (0.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)
            continue
        if row.interval is not None:
            ends = [100 * end for end in row.interval]
            axes.plot(ends, [place] * 2, color=colour, linewidth=1.5)
            for edge, arrow, is_cut in ((low, CARETLEFT, ends[0] < low), (high, CARETRIGHT, ends[1] > high)):
                if is_cut:
                    axes.plot([edge], [place], marker=arrow, color=colour, markersize=9, clip_on=False)
        axes.plot([100 * row.mean], [place], "D", color=colour, markersize=7)
        axes.annotate(
            percent(row.mean),
            (100 * row.mean, place),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set(
        title=f"{comparison.dataset}, {comparison.profile}: mean, 95 % interval and each seed",
        xlabel=f"{comparison.metric} on the {comparison.split} split (%)",
        xlim=(low, high),
        yticks=range(len(comparison.rows)),
        yticklabels=[row.label for row in comparison.rows],
        ylim=(len(comparison.rows) - 0.5, -0.6),
    )
    axes.title.set_fontsize(10)


def _draw_published(axes: Axes, comparison: Comparison) -> None:
    for place, row in enumerate(comparison.rows):
        if row.published_ap is not None:
            axes.plot([100 * row.published_ap], [place], "s", color=_COLOURS.published, markersize=6)
            text = percent(row.published_ap)
            axes.annotate(
                text, (100 * row.published_ap, place), (0, 7), textcoords="offset points", ha="center", fontsize=8
            )
    axes.set(title="published", xlabel="AP on COCO (%)")
    axes.title.set_fontsize(10)
    axes.margins(x=0.25)
