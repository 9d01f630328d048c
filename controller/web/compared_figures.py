"""Figures of several experiments side by side, and of one search's trials by their columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from paploss.client.models import Figure, Theme
from paploss.client.numbers import percent
from paploss.controller.web.style import PALETTES, as_text, line_mode, make_axis, make_layout
from paploss.jobs.ids import number_of

_BANDS: Final = ((0.0, "lowest quarter"), (0.25, "middle half"), (0.75, "next 15 %"), (0.9, "best 10 %"))
"""Lower ends of the parts in which trials are drawn, by the rank of their reward."""


@dataclass(frozen=True)
class Course:
    """The best reward so far of one experiment, at the points where it rose, and at the last."""

    label: str
    spent: Sequence[float]
    """Trainings, hours or GPU-hours until then."""
    best: Sequence[float]
    """As fractions."""
    metric: str


def best_so_far(courses: Sequence[Course], across: str, theme: Theme = "light") -> Figure:
    """What each experiment had found for what it had spent.

    Args:
        courses: one for each experiment, in the order of the legend.
        across: what was spent, for the axis.
        theme: colours.
    """
    colours = PALETTES[theme]
    metrics = " or ".join(dict.fromkeys(course.metric for course in courses))
    layout = make_layout(colours, height_px=380, across=across, up=f"best {metrics} so far (%)")
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": line_mode(len(course.spent)),
            "name": as_text(course.label),
            "x": [round(value, 4) for value in course.spent],
            "y": [round(100 * value, 3) for value in course.best],
            "line": {"color": colours.series[index % len(colours.series)], "width": 2, "shape": "hv"}
            | ({"dash": "dash"} if index // len(colours.series) % 2 else {}),
            "hovertemplate": f"%{{x:.4~g}} {across}<br><b>%{{y:.2f}} {as_text(course.metric)}</b>"
            "<extra>%{fullData.name}</extra>",
        }
        for index, course in enumerate(courses)
    ]
    return {"data": data, "layout": layout | {"showlegend": True}}


@dataclass(frozen=True)
class Column:
    """One number of every trial."""

    name: str
    title: str
    """For people."""
    values: Sequence[float | None]
    is_fraction: bool = False
    """An AP, shown in percent."""
    ends: tuple[float, float] | None = None
    """What it can be at least and at most, where that is known."""


def scatter(trials: Sequence[str], across: Column, up: Column, theme: Theme = "light") -> Figure:
    """A dot for each trial.

    Args:
        trials: their ids; a click opens the trial.
        across: [n], and `up`: [n].
        theme: colours.
    """
    colours = PALETTES[theme]
    layout = make_layout(colours, height_px=420, across=_title(across), up=_title(up))
    for axis in ("xaxis", "yaxis"):
        layout[axis]["rangemode"] = "normal"
    layout["showlegend"] = False
    dots: Figure = {
        "type": "scatter",
        "mode": "markers",
        "x": [_shown(across, value) for value in across.values],
        "y": [_shown(up, value) for value in up.values],
        "customdata": list(trials),
        "text": [f"trial {number_of(trial)}" for trial in trials],
        "marker": {"color": colours.trial, "size": 8, "opacity": 0.7},
        "hovertemplate": f"%{{text}}<br>{as_text(across.title)} <b>%{{x:.4~g}}</b>"
        f"<br>{as_text(up.title)} <b>%{{y:.4~g}}</b><extra></extra>",
    }
    return {"data": [dots], "layout": layout}


def parallel(columns: Sequence[Column], rewards: Sequence[float], theme: Theme = "light") -> Figure:
    """Parallel coordinates: a line for each trial over its columns, by the rank of its reward.

    Plotly's own kind of trace needs WebGL and evaluates code, which the page's security policy forbids; these are plain
    lines, in four parts that the legend can hide.

    Args:
        columns: [C] of [n] values; each is scaled to its ends, or its own lowest and highest.
        rewards: [n].
        theme: colours.
    """
    colours = PALETTES[theme]
    order = sorted(range(len(rewards)), key=lambda index: rewards[index])
    looks = (
        {"color": colours.identity, "width": 1},
        {"color": colours.trial, "width": 1},
        {"color": colours.mean, "width": 1.5},
        {"color": colours.best, "width": 2},
    )
    ends = [_ends(column) for column in columns]
    scaled = [_scale(column, *end) for column, end in zip(columns, ends, strict=True)]
    uppers = [low for low, _ in _BANDS[1:]] + [1.0]
    data: list[Figure] = []
    for (low, name), high, look, opacity in zip(_BANDS, uppers, looks, (0.35, 0.35, 0.7, 0.9), strict=True):
        chosen = order[round(low * len(order)) : round(high * len(order))]
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": [place for _ in chosen for place in (*range(len(columns)), None)],
                "y": [value for index in chosen for value in (*(column[index] for column in scaled), None)],
                "line": look,
                "opacity": opacity,
                "hoverinfo": "skip",
            }
        )
    layout = make_layout(colours, height_px=440, across="", up="")
    layout["xaxis"] = make_axis(colours) | {
        "tickvals": list(range(len(columns))),
        "ticktext": [_tell_ends(column, *end) for column, end in zip(columns, ends, strict=True)],
        "tickangle": -55,
        "range": [-0.3, len(columns) - 0.7],
        "fixedrange": True,
    }
    layout["yaxis"] = make_axis(colours) | {"range": [-0.03, 1.03], "showticklabels": False, "fixedrange": True}
    return {"data": data, "layout": layout}


def _title(column: Column) -> str:
    return f"{column.title} (%)" if column.is_fraction else column.title


def _shown(column: Column, value: float | None) -> float | None:
    if value is None:
        return None
    return round(100 * value, 3) if column.is_fraction else round(value, 5)


def _ends(column: Column) -> tuple[float, float]:
    known = [value for value in column.values if value is not None]
    return column.ends or ((min(known), max(known)) if known else (0.0, 1.0))


def _scale(column: Column, lowest: float, highest: float) -> list[float | None]:
    reach = (highest - lowest) or 1.0
    return [None if value is None else round((value - lowest) / reach, 4) for value in column.values]


def _tell_ends(column: Column, lowest: float, highest: float) -> str:
    if column.ends:
        return column.title
    low, high = (percent(end) if column.is_fraction else f"{end:.3g}" for end in (lowest, highest))
    return f"{column.title}, {low} to {high}"
