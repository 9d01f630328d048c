"""The figure of a comparison: each loss a line, what we measured on the left, the published AP on the right."""

from paploss.client.comparison import Comparison, find_axis
from paploss.client.models import Figure, Theme
from paploss.controller.web.style import PALETTES, make_axis, make_layout

_ROW_PX, _FRAME_PX = 44, 110
_PANELS = ((0.0, 0.76), (0.82, 1.0))
"""Where the two panels lie, as parts of the width."""


def draw_comparison(comparison: Comparison, theme: Theme = "light") -> Figure:
    """Means with their 95 % intervals, a dot for each seed, and the published COCO AP in a panel of its own.

    The panels have axes of their own: an AP on COCO and one on another data set are at most ordered alike.
    """
    colours, metric = PALETTES[theme], comparison.metric
    rows = comparison.rows
    seeds = [(place, row.label, seed, ap) for place, row in enumerate(rows) for seed, ap in row.rewards.items()]
    measured = [(place, row, row.mean) for place, row in enumerate(rows) if row.mean is not None]
    published = [(place, row, row.published_ap) for place, row in enumerate(rows) if row.published_ap is not None]
    reach = [100 * (row.interval[1] - row.interval[0]) / 2 if row.interval else None for _, row, _ in measured]
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "one seed",
            "x": [round(100 * ap, 3) for _, _, _, ap in seeds],
            "y": [place for place, _, _, _ in seeds],
            "text": [f"{label}, seed {seed}" for _, label, seed, _ in seeds],
            "marker": {"color": colours.trial, "size": 8, "opacity": 0.6},
            "hovertemplate": f"%{{text}}<br><b>%{{x:.1f}} {metric}</b><extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "mean, 95 % interval",
            "x": [round(100 * mean, 3) for _, _, mean in measured],
            "y": [place for place, _, _ in measured],
            "text": [row.label for _, row, _ in measured],
            "error_x": {"type": "data", "array": reach, "color": colours.mean, "thickness": 1.5, "width": 5},
            "marker": {
                "color": [
                    colours.best if row.label == comparison.reference else colours.mean for _, row, _ in measured
                ],
                "size": 11,
                "symbol": "diamond",
            },
            "hovertemplate": f"%{{text}}<br><b>%{{x:.1f}} {metric}</b><extra>mean</extra>",
        },
    ]
    layout = make_layout(
        colours, height_px=_FRAME_PX + _ROW_PX * len(rows), across=f"{metric} (%), {comparison.split}", up=""
    )
    layout["xaxis"] |= {"domain": _PANELS[0], "range": find_axis(comparison)}
    layout["yaxis"] = make_axis(colours) | {
        "range": [len(rows) - 0.5, -0.5],
        "tickvals": list(range(len(rows))),
        "ticktext": [f"<b>{row.label}</b>" if row.label == comparison.reference else row.label for row in rows],
    }
    if published:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "published, COCO",
                "x": [round(100 * ap, 3) for _, _, ap in published],
                "y": [place for place, _, _ in published],
                "text": [row.label for _, row, _ in published],
                "xaxis": "x2",
                "marker": {"color": colours.published, "size": 10, "symbol": "square"},
                "hovertemplate": "%{text}<br><b>%{x:.1f} AP</b><extra>published</extra>",
            }
        )
        layout["xaxis2"] = make_axis(colours, "published, COCO") | {"domain": _PANELS[1], "anchor": "y"}
    else:
        layout["xaxis"]["domain"] = [0, 1]
    return {"data": data, "layout": layout}
