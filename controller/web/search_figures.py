"""Figures of a whole search: how its distribution moved, which dimensions matter, and what its GPUs did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Literal

from paploss.client.models import Figure, Theme
from paploss.controller.web.style import PALETTES, Palette, count_axis, line_mode, make_axis, make_layout

_ROW_PX, _SIGMA_PX, _GAP_PX = 10, 64, 22
_BAR_ROW_PX = 22


def policy(
    names: Sequence[str],
    versions: Sequence[int],
    centres: Sequence[Sequence[float]],
    spreads: Sequence[float],
    theme: Theme = "light",
) -> Figure:
    """How the distribution moved: its spread as a line; below it, as colours, how far each centre is from its start.

    Args:
        names: [D] dimensions, as `paploss.controller.search.space.Space.names` gives them.
        versions: [T] numbers of the versions, ascending; 0 is the start.
        centres: [T][D].
        spreads: [T].
        theme: colours.
    """
    colours = PALETTES[theme]
    labels = name_dimensions(names)
    moved = [[round(row[d] - centres[0][d], 4) for row in centres] for d in range(len(names))]
    reach = max((abs(value) for row in moved for value in row), default=0.0) or 0.1
    height_px = _SIGMA_PX + _GAP_PX + _ROW_PX * len(names)
    split = _ROW_PX * len(names) / height_px
    heat: Figure = {
        "type": "heatmap",
        "x": list(versions),
        "y": list(range(len(names))),
        "z": moved,
        "customdata": [[round(row[d], 3) for row in centres] for d in range(len(names))],
        "text": [[label] * len(versions) for label in labels],
        "zmin": -reach,
        "zmax": reach,
        "colorscale": [[0, colours.published], [0.5, colours.middle], [1, colours.best]],
        "colorbar": {
            "thickness": 10,
            "len": split,
            "y": 0,
            "yanchor": "bottom",
            "outlinewidth": 0,
            "tickfont": {"color": colours.muted, "size": 11},
            "title": {"text": "centre, moved", "font": {"color": colours.muted, "size": 11}},
        },
        "hovertemplate": "%{text}, version %{x}<br><b>centre %{customdata}</b>, moved %{z:+.3f}<extra></extra>",
    }
    line: Figure = {
        "type": "scatter",
        "mode": line_mode(len(versions)),
        "x": list(versions),
        "y": [round(value, 4) for value in spreads],
        "yaxis": "y2",
        "showlegend": False,
        "line": {"color": colours.mean, "width": 2},
        "hovertemplate": "version %{x}<br><b>spread %{y:.3f}</b><extra></extra>",
    }
    layout = make_layout(colours, height_px=height_px + 60, across="version", up="")
    groups = _group_rows(names)
    layout |= {
        "margin": {"l": 8, "r": 8, "t": 10, "b": 8},
        "yaxis": make_axis(colours)
        | {
            "domain": [0, split],
            "range": [len(names) - 0.5, -0.5],
            "tickvals": [(first + last) / 2 for _, first, last in groups],
            "ticktext": [name for name, _, _ in groups],
            "showgrid": False,
            "fixedrange": True,
        },
        "yaxis2": make_axis(colours, "spread")
        | {"domain": [split + _GAP_PX / height_px, 1], "rangemode": "tozero", "nticks": 3, "fixedrange": True},
        "shapes": [_rule(last + 0.5, colours) for _, _, last in groups[:-1]],
    }
    layout["xaxis"] |= count_axis(max(versions), first=0) | {"anchor": "y", "showgrid": False}
    return {"data": [heat, line], "layout": layout}


def importance(
    names: Sequence[str],
    shift: Sequence[float],
    correlation: Sequence[float],
    noise: float,
    *,
    most: int = 20,
    theme: Theme = "light",
) -> Figure:
    """The dimensions that matter most: how far the centre has moved, and how theta goes with the reward.

    Args:
        names: [D] dimensions, as `paploss.controller.search.space.Space.names` gives them.
        shift: [D] in units of the first spread.
        correlation: [D] rank correlations in [-1, 1].
        noise: dimensions without influence stay within +- this in 95 % of cases.
        most: how many dimensions are shown, those with the largest correlation or shift.
        theme: colours.
    """
    colours = PALETTES[theme]
    labels = name_dimensions(names)
    widest = max([abs(value) for value in shift] + [1e-9])
    weight = [abs(r) + abs(s) / widest for r, s in zip(correlation, shift, strict=True)]
    chosen = sorted(range(len(names)), key=lambda d: -weight[d])[:most]
    shown = [labels[d] for d in chosen]
    panels = (
        ("shift (first spreads)", [shift[d] for d in chosen], colours.mean, ".2f", [0.0, 0.46]),
        ("correlation", [correlation[d] for d in chosen], colours.best, ".2f", [0.54, 1.0]),
    )
    layout = make_layout(colours, height_px=_BAR_ROW_PX * len(chosen) + 70, across="", up="")
    layout |= {"margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "showlegend": False, "bargap": 0.35}
    layout["yaxis"] = make_axis(colours) | {"autorange": "reversed", "showgrid": False, "fixedrange": True}
    data: list[Figure] = []
    for number, (title, values, colour, digits, domain) in enumerate(panels):
        suffix = "" if number == 0 else str(number + 1)
        reach = 1.15 * max([abs(value) for value in values] + [noise if number else 0.1])
        layout[f"xaxis{suffix}"] = make_axis(colours, title) | {
            "domain": domain,
            "range": [-reach, reach],
            "zeroline": True,
            "zerolinecolor": colours.muted,
            "fixedrange": True,
            "nticks": 3,
            "tickangle": 0,
        }
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "x": [round(value, 4) for value in values],
                "y": shown,
                "xaxis": f"x{suffix}",
                "marker": {"color": colour},
                "hovertemplate": f"%{{y}}<br><b>%{{x:+{digits}}}</b><extra>{title}</extra>",
            }
        )
    layout["shapes"] = [
        {
            "type": "rect",
            "xref": "x2",
            "yref": "paper",
            "x0": -noise,
            "x1": noise,
            "y0": 0,
            "y1": 1,
            "line": {"width": 0},
            "fillcolor": colours.muted,
            "opacity": 0.15,
            "layer": "below",
        }
    ]
    return {"data": data, "layout": layout}


Use = Literal["busy", "preempted", "failed", "elsewhere", "idle"]


@dataclass(frozen=True)
class Band:
    """One use of the GPUs over time."""

    label: str
    gpus: Sequence[float]
    """[B] mean number in each part of the time."""
    share: float
    """Part of the whole GPU time, in [0, 1]."""


def gpu_use(edges: Sequence[float], bands: Mapping[Use, Band], unit: str, theme: Theme = "light") -> Figure:
    """What the GPUs did over time, stacked.

    Args:
        edges: [B + 1] seconds since 1970.
        bands: by use; those without any time are left out.
        unit: what is counted: "GPUs", or "workers" where trials have no GPU of their own.
        theme: colours.
    """
    colours = PALETTES[theme]
    colour: dict[Use, str] = {
        "busy": colours.mean,
        "preempted": colours.best,
        "failed": colours.bad,
        "elsewhere": colours.identity,
        "idle": colours.grid,
    }
    middles = [(begin + end) / 2 for begin, end in pairwise(edges)]
    data: list[Figure] = [
        {
            "type": "bar",
            "name": f"{band.label} {100 * band.share:.0f} %",
            "x": [datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S.%f") for moment in middles],
            "y": [round(value, 3) for value in band.gpus],
            "width": 1000 * (edges[1] - edges[0]),
            "marker": {"color": colour[use], "line": {"width": 0}},
            "hovertemplate": f"%{{x}} UTC<br><b>%{{y:.1f}} {unit}</b><extra>{band.label}</extra>",
        }
        for use, band in bands.items()
        if band.share > 0 or use in ("busy", "idle")
    ]
    layout = make_layout(colours, height_px=230, across="time (UTC)", up=unit)
    layout |= {"barmode": "stack", "bargap": 0}
    layout["legend"]["traceorder"] = "normal"
    layout["xaxis"] |= {"type": "date", "rangemode": "normal"}
    return {"data": data, "layout": layout}


def name_dimensions(names: Sequence[str]) -> list[str]:
    """ "bbox_head.H2.knot1.x" as people read it: "H2 knot 1 x"; with the head where there are several."""
    several = _has_several_heads(names)
    shown = []
    for name in names:
        head, _, own = name.partition(".") if "." in name else ("", "", name)
        words = _OTHERS[own][0] if own in _OTHERS else own.replace("knot", "knot ").replace(".", " ")
        shown.append(f"{head.removesuffix('_head')} {words}" if head and several else words)
    return shown


_OTHERS = {
    "gradient_scale": ("gradient scale λ", "λ"),
    "l1_weight": ("weight of L1", "L1"),
    "giou_weight": ("weight of GIoU", "GIoU"),
    "error_driven": ("error-driven", "AP Loss"),
    "learning_rate_factor": ("learning rate", "rate"),
}
"""What dimensions that are no knots are called, at length and in short."""


def _has_several_heads(names: Sequence[str]) -> bool:
    return len({name.partition(".")[0] for name in names if "." in name}) > 1


def _group_rows(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Label, first and last row of each function, and of each other dimension."""
    several = _has_several_heads(names)
    groups = []
    for parts, rows in groupby(range(len(names)), key=lambda d: tuple(names[d].split(".")[:2])):
        members = list(rows)
        short = _OTHERS.get(parts[-1], ("", parts[-1]))[1]
        label = f"{parts[0].removesuffix('_head')} {short}" if several and len(parts) > 1 else short
        groups.append((label, members[0], members[-1]))
    return groups


def _rule(row: float, colours: Palette) -> Figure:
    """A line between two functions."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": row,
        "y1": row,
        "line": {"color": colours.surface, "width": 2},
    }
