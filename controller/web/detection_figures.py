"""Figures of what trainings detected: precision by recall, and what each kind of error costs."""

from collections.abc import Sequence

from paploss.client.detections import LossDetections
from paploss.client.loss_choice import called
from paploss.client.models import Figure, Theme
from paploss.controller.web.style import PALETTES, as_text, make_axis, make_layout
from paploss.jobs.analysis import ERROR_KINDS, RECALL_POINTS

_CURVES = (("iou_50", "IoU 0.5", "solid"), ("iou_75", "IoU 0.75", "dash"), ("mean", "IoU 0.5 to 0.95", "dot"))
"""Field, name, and how its line is drawn."""


def precision_recall(losses: Sequence[LossDetections], theme: Theme = "light") -> Figure:
    """Precision at each recall, a colour for each loss and a kind of line for each IoU."""
    colours = PALETTES[theme]
    recalls = [round(100 * point / (RECALL_POINTS - 1), 1) for point in range(RECALL_POINTS)]
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": title if len(losses) == 1 else f"{_label(loss)}, {title}",
            "x": recalls,
            "y": [round(100 * value, 2) for value in getattr(loss.precision, field)],
            "line": {"color": colours.series[place % len(colours.series)], "width": 2, "dash": dash},
            "hovertemplate": "recall %{x:.0f} %<br><b>precision %{y:.1f} %</b><extra>%{fullData.name}</extra>",
        }
        for place, loss in enumerate(losses)
        for field, title, dash in _CURVES
    ]
    layout = make_layout(colours, height_px=360, across="recall (%)", up="precision (%)")
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"range": [0, 101], "fixedrange": True}
    return {"data": data, "layout": layout}


def error_costs(losses: Sequence[LossDetections], theme: Theme = "light") -> Figure:
    """What AP50 would gain without each kind of error, a bar for each loss."""
    colours = PALETTES[theme]
    data: list[Figure] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": _label(loss),
            "y": list(ERROR_KINDS),
            "x": [round(100 * loss.errors[kind].ap50, 2) for kind in ERROR_KINDS],
            "text": [f"{100 * loss.errors[kind].ap50:.1f}" for kind in ERROR_KINDS],
            "textposition": "outside",
            "cliponaxis": False,
            "customdata": [loss.errors[kind].count for kind in ERROR_KINDS],
            "marker": {"color": colours.series[place % len(colours.series)]},
            "hovertemplate": "%{y}<br><b>%{x:.2f} AP50</b><br>%{customdata} of them<extra>%{fullData.name}</extra>",
        }
        for place, loss in enumerate(losses)
    ]
    layout = make_layout(colours, height_px=120 + 40 * len(ERROR_KINDS), across="AP50 that they cost", up="")
    layout |= {"showlegend": len(losses) > 1, "bargap": 0.3, "margin": {"l": 8, "r": 40, "t": 34, "b": 8}}
    layout["yaxis"] = make_axis(colours) | {"autorange": "reversed", "showgrid": False, "fixedrange": True}
    layout["xaxis"]["fixedrange"] = True
    return {"data": data, "layout": layout}


def _label(loss: LossDetections) -> str:
    return as_text(called(loss.label))
