"""What all figures share: colours of both themes, axes and layout."""

import html
from dataclasses import dataclass

from paploss.client.models import Figure, Theme

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Palette:
    """Colours of one theme; series colours keep 3:1 contrast on the surface and differ for colour-blind readers."""

    ink: str
    muted: str
    grid: str
    surface: str
    trial: str
    mean: str
    best: str
    published: str
    identity: str
    bad: str
    middle: str
    """Of a scale with two ends: nothing has moved."""
    series: tuple[str, ...]
    """Of experiments side by side."""


PALETTES: dict[Theme, Palette] = {
    "light": Palette(
        ink="#1b2430",
        muted="#5c6675",
        grid="#e6e9ee",
        surface="#ffffff",
        trial="#5b8def",
        mean="#1d4fb8",
        best="#c2570c",
        published="#0f766e",
        identity="#8a94a3",
        bad="#b3261e",
        middle="#f1f3f6",
        series=("#1d4fb8", "#c2570c", "#0f766e", "#7c3aed", "#b3261e", "#856404", "#0369a1", "#a21a6b"),
    ),
    "dark": Palette(
        ink="#e7ebf1",
        muted="#9ba6b5",
        grid="#29313c",
        surface="#161b22",
        trial="#5f8fe8",
        mean="#9fc0ff",
        best="#f59e56",
        published="#4cc9b6",
        identity="#7d8898",
        bad="#ff8d85",
        middle="#1f2731",
        series=("#9fc0ff", "#f59e56", "#4cc9b6", "#c4a1ff", "#ff8d85", "#e3c34a", "#6fd3ff", "#f58fc4"),
    ),
}


def as_text(name: str) -> str:
    """A label, class or metric as plotly shows it, which reads markup."""
    return html.escape(name, quote=False)


def make_axis(colours: Palette, title: str = "") -> Figure:
    """An axis without ticks or zero line; `title` may be empty."""
    return {
        "title": {"text": as_text(title), "font": {"color": colours.muted, "size": 12}, "standoff": 8},
        "gridcolor": colours.grid,
        "linecolor": colours.grid,
        "zeroline": False,
        "ticks": "",
        "tickfont": {"color": colours.muted, "size": 11},
        "automargin": True,
    }


def count_axis(last: int, first: int = 1) -> Figure:
    """What makes an axis one of whole numbers from `first` to `last`: no tick lies between two of them."""
    ticks: Figure = {"range": [first - 0.5, max(last, first) + 0.5], "tickformat": "d"}
    return ticks | ({"dtick": 1} if last - first < 12 else {})


def line_mode(points: int) -> str:
    """Plotly's mode of a line: one point alone has no line, and is drawn as a mark."""
    return "lines" if points > 1 else "markers"


def make_layout(colours: Palette, *, height_px: int, across: str, up: str) -> Figure:
    """A layout of one pair of axes with the titles `across` and `up`, on a transparent ground, legend above."""
    return {
        "height": height_px,
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 12, "color": colours.ink},
        "hoverlabel": {"bgcolor": colours.surface, "bordercolor": colours.grid, "font": {"color": colours.ink}},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": colours.muted}},
        "xaxis": make_axis(colours, across) | {"rangemode": "tozero"},
        "yaxis": make_axis(colours, up) | {"rangemode": "tozero"},
    }
