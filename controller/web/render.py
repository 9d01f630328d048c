"""HTML from templates. Everything that is filled in is escaped: log tails and errors come from other machines."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from paploss.client import numbers
from paploss.client.loss_choice import called
from paploss.client.verdict import names_another
from paploss.controller.web.markdown import render_markdown
from paploss.jobs.ids import number_of
from paploss.jobs.wording import counted, duration


class Pages:
    """The page's templates."""

    def __init__(self, asset_url: Callable[[str], str]) -> None:
        """`asset_url`: the address of a static file by its name."""
        self._environment = Environment(
            loader=PackageLoader("paploss.controller.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["asset_url"] = asset_url
        self._environment.tests["for_another_loss"] = names_another
        self._environment.filters |= {
            "ap": numbers.percent,
            "called": called,
            "confirmed": numbers.confirmed,
            "difference": numbers.difference,
            "deviation": numbers.mean_and_deviation,
            "duration": duration,
            "hours": numbers.hours,
            "hours_to": numbers.hours_range,
            "code": mark_code,
            "markdown": render_markdown,
            "timestamp": format_timestamp,
            "number": format_number,
            "counted": counted,
            "trial_number": number_of,
        }

    def render(self, template: str, **values: Any) -> str:
        """The page, as text. Raises jinja2.UndefinedError where a value is missing."""
        return self._environment.get_template(template).render(**values)


SPARKLINE_WIDTH_PX, SPARKLINE_HEIGHT_PX, SPARKLINE_POINTS = 96, 24, 48


def draw_sparkline(values: Sequence[float]) -> str:
    """The points of an SVG polyline (96 x 24) through `values`, thinned to 48; empty for fewer than two."""
    if len(values) < 2:
        return ""
    count = min(len(values), SPARKLINE_POINTS)
    chosen = [values[round(index * (len(values) - 1) / (count - 1))] for index in range(count)]
    low, reach = min(chosen), (max(chosen) - min(chosen)) or 1.0
    across, up = SPARKLINE_WIDTH_PX - 4, SPARKLINE_HEIGHT_PX - 4
    points = ((2 + across * i / (count - 1), 2 + up * (1 - (value - low) / reach)) for i, value in enumerate(chosen))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def format_timestamp(moment: datetime | None) -> str:
    """A moment in UTC, for machines and for those without a script: "2026-11-22 20:41 UTC"."""
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def format_number(value: float | None) -> str:
    """A number, with thin spaces between thousands where it is whole. A dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}".replace(",", "\u202f") if value == int(value) else f"{value:g}"


def mark_code(text: str) -> Markup:
    """Text with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 (escaped)
