"""Figures as plotly JSON, made once here for the page, reports and notebooks.

A figure is the plain dictionary that plotly.js draws (`{"data": [...], "layout": {...}}`): building it needs no plotly
objects, which would cost the controller some 60 MB. In a notebook, `plotly.graph_objects.Figure(figure)` shows it.

Rewards come in as fractions in [0, 1] and are drawn in percent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from paploss.client.models import Figure, Theme
from paploss.client.numbers import percent
from paploss.controller.web.style import PALETTES, Palette, as_text, count_axis, line_mode, make_axis, make_layout
from paploss.jobs.losses import FUNCTION_NAMES, HeadLoss
from paploss.jobs.metrics import Metrics
from paploss.jobs.presets import identity
from paploss.jobs.spec import EvaluationEvent

FUNCTION_MEANING = {
    "H2": "rank, numerator",
    "I2": "rival's quality",
    "I3": "weight of the rank",
    "I1": "own quality",
    "H1": "rank, denominator",
}
"""What each function is of, in the loss 1 - I1(u) + I3(u) * sum H2(z) (1 - I2(u')) / sum H1(z): a few words each."""


@dataclass(frozen=True)
class TrialPoint:
    """One finished trial in the reward figure."""

    trial_id: str
    index: int
    round: int
    reward: float
    pruned: bool = False


MOST_DOTS = 2000
"""A browser draws so many without effort; of more trials, evenly chosen ones are drawn, and the best."""


def rewards(trials: Sequence[TrialPoint], rounds_planned: int, metric: str = "AP", theme: Theme = "light") -> Figure:
    """Reward per round: every trial a dot (up to `MOST_DOTS`), the mean of each round, and the best so far.

    Args:
        trials: the finished trials, in any order; rounds count from 0 and are drawn from 1.
        rounds_planned: how far the horizontal axis reaches.
        theme: colours.
    """
    colours, unit = PALETTES[theme], as_text(metric)
    by_round: dict[int, list[float]] = {}
    for trial in trials:
        by_round.setdefault(trial.round, []).append(100 * trial.reward)
    numbers = sorted(by_round)
    means = [sum(by_round[number]) / len(by_round[number]) for number in numbers]
    best: list[float] = []
    for number in numbers:
        best.append(max([*best[-1:], *by_round[number]]))

    dots = trials
    if len(trials) > MOST_DOTS:
        dots = [*trials[:: -(-len(trials) // MOST_DOTS)], max(trials, key=lambda trial: trial.reward)]
    data: list[Figure] = []
    for pruned, label in ((False, "trial"), (True, "pruned")):
        chosen = [trial for trial in dots if trial.pruned == pruned]
        if not chosen:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "x": [trial.round + 1 + _spread(trial.index) for trial in chosen],
                "y": [round(100 * trial.reward, 3) for trial in chosen],
                "customdata": [trial.trial_id for trial in chosen],
                "text": [f"trial {trial.index}" for trial in chosen],
                "marker": {
                    "color": colours.trial,
                    "size": 7,
                    "opacity": 0.75,
                    "symbol": "circle-open" if pruned else "circle",
                    "line": {"width": 1.5 if pruned else 0, "color": colours.trial},
                },
                "hovertemplate": f"%{{text}}<br><b>%{{y:.2f}} {unit}</b><extra>{label}</extra>",
            }
        )
    labels = [number + 1 for number in numbers]
    data.append(
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "round mean",
            "x": labels,
            "y": [round(value, 3) for value in means],
            "line": {"color": colours.mean, "width": 2},
            "marker": {"size": 4},
            "hovertemplate": f"round %{{x}}<br><b>%{{y:.2f}} {unit}</b><extra>mean</extra>",
        }
    )
    data.append(
        {
            "type": "scatter",
            "mode": line_mode(len(labels)),
            "name": "best so far",
            "x": labels,
            "y": [round(value, 3) for value in best],
            "line": {"color": colours.best, "width": 2, "shape": "hv"},
            "hovertemplate": f"after round %{{x}}<br><b>%{{y:.2f}} {unit}</b><extra>best</extra>",
        }
    )
    layout = make_layout(colours, height_px=340, across="round", up=f"{metric} (%)")
    layout["xaxis"] |= count_axis(max([rounds_planned, *labels]))
    return {"data": data, "layout": layout}


def _spread(index: int) -> float:
    """A small, fixed sideways shift, so that equal rewards of a round do not cover each other."""
    return 0.3 * ((index * 0.618034) % 1 - 0.5)


_CELL_PX, _TITLE_PX, _PLOT_PX = 236, 32, 176
"""Small multiples: height of one with its title and tick labels, in pixels."""


def functions(
    losses: Sequence[tuple[str, HeadLoss]],
    published: HeadLoss | None = None,
    *,
    columns: int = 5,
    theme: Theme = "light",
) -> Figure:
    """The five functions of losses of one head as small multiples, beside the identity and the published set.

    Args:
        losses: of the same head, control points [4 or 5, K+2, 2], each with what the legend calls it.
        published: the published set of that head, if there is one.
        columns: small multiples side by side, 1 to 5; the rest goes on below.
        theme: colours.
    """
    if not 1 <= columns <= 5:
        raise ValueError(f"columns: expected 1 to 5, got {columns}")
    colours = PALETTES[theme]
    line = identity(["head"], knots=1).heads["head"]
    series: list[tuple[str, HeadLoss, Figure, str]] = [
        ("identity", line, {"color": colours.identity, "width": 1.5, "dash": "dot"}, "lines"),
    ]
    if published is not None:
        series.append(("published", published, {"color": colours.published, "width": 2, "dash": "dash"}, "lines"))
    own = colours.series if len(losses) > 1 else (colours.best,)
    series += [
        (as_text(label), loss, {"color": own[index % len(own)], "width": 2.5}, "lines+markers")
        for index, (label, loss) in enumerate(losses)
    ]

    names = FUNCTION_NAMES[: max(len(loss.control_points) for _, loss in losses)]
    inner_px = _CELL_PX * -(-len(names) // columns)
    layout = make_layout(colours, height_px=inner_px + 40, across="", up="")
    layout |= {"margin": {"l": 24, "r": 10, "t": 36, "b": 4}, "annotations": []}
    layout["legend"] |= {"y": 1 + 6 / inner_px}
    gap = 0.24 / columns
    width = (1 - gap * (columns - 1)) / columns
    data: list[Figure] = []
    for number, name in enumerate(names):
        row, column = divmod(number, columns)
        left, top = column * (width + gap), 1 - (row * _CELL_PX + _TITLE_PX) / inner_px
        suffix = "" if number == 0 else str(number + 1)
        axis = make_axis(colours) | {
            "range": [-0.03, 1.03],
            "tickvals": [0, 0.5, 1],
            "fixedrange": True,
            "automargin": False,
        }
        layout[f"xaxis{suffix}"] = axis | {"domain": [left, left + width], "anchor": f"y{suffix}"}
        layout[f"yaxis{suffix}"] = axis | {"domain": [top - _PLOT_PX / inner_px, top], "anchor": f"x{suffix}"}
        layout["annotations"].append(_title(name, left, top, colours))
        data += [
            {
                "type": "scatter",
                "mode": mode,
                "name": series_label,
                "legendgroup": series_label,
                "showlegend": number == 0,
                "x": [point[0] for point in loss.control_points[number]],
                "y": [point[1] for point in loss.control_points[number]],
                "xaxis": f"x{suffix}",
                "yaxis": f"y{suffix}",
                "line": style,
                "marker": {"size": 5},
                "hovertemplate": f"{name}(%{{x:.3f}}) = %{{y:.3f}}<extra>{series_label}</extra>",
            }
            for series_label, loss, style, mode in series
            if number < len(loss.control_points)
        ]
    return {"data": data, "layout": layout}


def _title(name: str, left: float, top: float, colours: Palette) -> Figure:
    return {
        "text": f"<b>{name}</b>  <span style='color:{colours.muted}'>{FUNCTION_MEANING[name]}</span>",
        "xref": "paper",
        "yref": "paper",
        "x": left,
        "y": top,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 2,
        "showarrow": False,
        "font": {"size": 12, "color": colours.ink},
    }


def breakdown(metrics: Metrics, theme: Theme = "light") -> Figure:
    """The AP of one evaluation by IoU threshold, by size of the objects, and by class.

    What the data set has no object for is left out; of the classes the 20 with the highest AP and the lowest are shown.
    """
    colours = PALETTES[theme]
    classes = sorted(metrics.per_class.items(), key=lambda item: -item[1])
    if len(classes) > 40:
        classes = [*classes[:20], *classes[-20:]]
    by_iou = [(f"AP{50 + 5 * step}", ap) for step, ap in enumerate(metrics.ap_by_iou)]
    groups: list[tuple[str, list[tuple[str, float]], str]] = [
        ("all", [("AP", metrics.ap), *(by_iou or [("AP50", metrics.ap50), ("AP75", metrics.ap75)])], colours.best),
        (
            "size",
            [("small", metrics.ap_small), ("medium", metrics.ap_medium), ("large", metrics.ap_large)],
            colours.mean,
        ),
        ("class", classes, colours.published),
    ]
    data: list[Figure] = []
    for group, values, colour in groups:
        known = [(label, value) for label, value in values if value >= 0]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": group,
                "y": [[group] * len(known), [as_text(label) for label, _ in known]],
                "x": [round(100 * value, 2) for _, value in known],
                "text": [percent(value) for _, value in known],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": colour},
                "hovertemplate": f"%{{y}}<br><b>%{{x:.2f}} AP</b><extra>{group}</extra>",
            }
        )
    rows = sum(len(series["x"]) for series in data)
    layout = make_layout(colours, height_px=60 + 24 * rows, across="AP (%)", up="")
    layout |= {"showlegend": False, "bargap": 0.35, "margin": {"l": 8, "r": 40, "t": 8, "b": 8}}
    layout["yaxis"] = make_axis(colours) | {
        "type": "multicategory",
        "autorange": "reversed",
        "showgrid": False,
        "fixedrange": True,
        "dividercolor": colours.grid,
    }
    layout["xaxis"]["fixedrange"] = True
    return {"data": data, "layout": layout}


def learning_curve(evaluations: Sequence[EvaluationEvent], metric: str = "AP", theme: Theme = "light") -> Figure:
    """Validation AP, AP50 and AP75, and what is maximised, after the iterations at which they were measured."""
    colours = PALETTES[theme]
    iterations = [evaluation.iteration for evaluation in evaluations]
    measured: list[tuple[str, list[float], Figure]] = [
        ("AP", [evaluation.metrics.ap for evaluation in evaluations], {"color": colours.best, "width": 2.5}),
        ("AP50", [e.metrics.ap50 for e in evaluations], {"color": colours.mean, "width": 1.5, "dash": "dash"}),
        ("AP75", [e.metrics.ap75 for e in evaluations], {"color": colours.published, "width": 1.5, "dash": "dot"}),
    ]
    if metric not in {name for name, _, _ in measured}:
        rewards = [-1.0 if evaluation.reward is None else evaluation.reward for evaluation in evaluations]
        measured.insert(0, (as_text(metric), rewards, {"color": colours.trial, "width": 2.5}))
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": iterations,
            "y": [round(100 * value, 3) if value >= 0 else None for value in values],
            "line": style,
            "marker": {"size": 6},
            "hovertemplate": f"iteration %{{x}}<br><b>%{{y:.2f}} {name}</b><extra></extra>",
        }
        for name, values, style in measured
    ]
    layout = make_layout(colours, height_px=300, across="iteration", up="AP (%)")
    if evaluations:
        layout["xaxis"]["range"] = [0, 1.03 * max(evaluation.total_iterations for evaluation in evaluations)]
    return {"data": data, "layout": layout}
