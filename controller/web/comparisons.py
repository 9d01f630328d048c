"""The figure of a comparison: each loss a line, what we measured on the left, the published AP on the right."""

import textwrap
from collections.abc import Sequence

from paploss.client.comparison import Comparison, Row, find_axis
from paploss.client.models import Figure, Theme
from paploss.controller.web.style import PALETTES, Palette, as_text, make_axis, make_layout

_ROW_PX, _FRAME_PX = 48, 110
_LABEL_CHARACTERS = 18
_PANELS = ((0.0, 0.72), (0.8, 1.0))
"""Where the two panels lie, as parts of the width."""


def draw_comparison(comparison: Comparison, theme: Theme = "light") -> Figure:
    """Means with their 95 % intervals, a dot for each seed, and the published COCO AP in a panel of its own.

    The panels have axes of their own: an AP on COCO and one on another data set are at most ordered alike.
    """
    colours, metric = PALETTES[theme], as_text(comparison.metric)
    rows = comparison.rows
    seeds = [(place, row.label, seed, ap) for place, row in enumerate(rows) for seed, ap in row.rewards.items()]
    measured = [(place, row, row.mean) for place, row in enumerate(rows) if row.mean is not None]
    published = [(place, row, row.published_ap) for place, row in enumerate(rows) if row.published_ap is not None]
    axis = find_axis(comparison)
    ends = [(mean, row.interval or (mean, mean)) for _, row, mean in measured]
    ahead = [min(100 * high, axis[1]) - 100 * mean for mean, (_, high) in ends]
    behind = [100 * mean - max(100 * low, axis[0]) for mean, (low, _) in ends]
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "one seed",
            "x": [round(100 * ap, 3) for _, _, _, ap in seeds],
            "y": [place for place, _, _, _ in seeds],
            "text": [f"{as_text(label)}, seed {seed}" for _, label, seed, _ in seeds],
            "marker": {"color": colours.trial, "size": 8, "opacity": 0.6},
            "hovertemplate": f"%{{text}}<br><b>%{{x:.2f}} {metric}</b><extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "mean, 95 % interval",
            "x": [round(100 * mean, 3) for _, _, mean in measured],
            "y": [place for place, _, _ in measured],
            "text": [as_text(row.label) for _, row, _ in measured],
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [round(value, 3) for value in ahead],
                "arrayminus": [round(value, 3) for value in behind],
                "color": colours.mean,
                "thickness": 1.5,
                "width": 5,
            },
            "marker": {
                "color": [
                    colours.best if row.label == comparison.reference else colours.mean for _, row, _ in measured
                ],
                "size": 11,
                "symbol": "diamond",
            },
            "hovertemplate": f"%{{text}}<br><b>%{{x:.2f}} {metric}</b><extra>mean</extra>",
        },
    ]
    layout = make_layout(
        colours, height_px=_FRAME_PX + _ROW_PX * len(rows), across=f"{comparison.metric} (%), {comparison.split}", up=""
    )
    data += _cut_ends(measured, axis, colours)
    layout["xaxis"] |= {"domain": _PANELS[0], "range": axis, "tickangle": 0, "nticks": 8}
    layout["yaxis"] = make_axis(colours) | {
        "range": [len(rows) - 0.5, -0.5],
        "tickvals": list(range(len(rows))),
        "ticks": "outside",  # not seen: they keep labels off the arrows
        "ticklen": 8,
        "tickcolor": "rgba(0,0,0,0)",
        "ticktext": [_break_label(row.label, is_bold=row.label == comparison.reference) for row in rows],
    }
    if published:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "published, COCO",
                "x": [round(100 * ap, 3) for _, _, ap in published],
                "y": [place for place, _, _ in published],
                "text": [as_text(row.label) for _, row, _ in published],
                "xaxis": "x2",
                "marker": {"color": colours.published, "size": 10, "symbol": "square"},
                "hovertemplate": "%{text}<br><b>%{x:.2f} AP</b><extra>published</extra>",
            }
        )
        layout["xaxis2"] = make_axis(colours, "COCO") | {
            "domain": _PANELS[1],
            "anchor": "y",
            "tickangle": 0,
            "nticks": 3,
        }
    else:
        layout["xaxis"]["domain"] = [0, 1]
    return {"data": data, "layout": layout}


def _cut_ends(measured: Sequence[tuple[int, Row, float]], axis: tuple[float, float], colours: Palette) -> list[Figure]:
    """Arrows where an interval goes on beyond the axis; none where all of them fit."""
    cut = [
        (place, row, edge, symbol)
        for place, row, _ in measured
        if row.interval
        for edge, symbol, goes_on in (
            (axis[0], "triangle-left", 100 * row.interval[0] < axis[0]),
            (axis[1], "triangle-right", 100 * row.interval[1] > axis[1]),
        )
        if goes_on
    ]
    if not cut:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "the interval goes on",
            "x": [edge for _, _, edge, _ in cut],
            "y": [place for place, _, _, _ in cut],
            "text": [
                f"{as_text(row.label)}: {100 * row.interval[0]:.2f} to {100 * row.interval[1]:.2f}"
                for _, row, _, _ in cut
                if row.interval
            ],
            "marker": {"color": colours.mean, "size": 10, "symbol": [symbol for _, _, _, symbol in cut]},
            "cliponaxis": False,
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]


def _break_label(label: str, *, is_bold: bool) -> str:
    """A label in lines of a width that leaves a phone room for the figure."""
    lines = textwrap.wrap(label, _LABEL_CHARACTERS, max_lines=3, placeholder=" ...")
    text = "<br>".join(as_text(line) for line in lines)
    return f"<b>{text}</b>" if is_bold else text
