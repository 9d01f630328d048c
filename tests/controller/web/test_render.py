"""Numbers, times and texts as people read them."""

from datetime import UTC, datetime

import pytest
from jinja2 import UndefinedError

from paploss.controller.web.render import (
    Pages,
    draw_sparkline,
    format_number,
    format_timestamp,
    mark_code,
)


def test_other_numbers_and_times() -> None:
    assert format_number(12345) == "12\u202f345"
    assert [format_number(value) for value in (1e6, 0.25, None)] == ["1\u202f000\u202f000", "0.25", "–"]


def test_what_stands_between_backticks_is_code_and_all_else_is_escaped():
    assert mark_code("times `gpus`, <b>&") == "times <code>gpus</code>, &lt;b&gt;&amp;"
    assert mark_code("`<script>`") == "<code>&lt;script&gt;</code>"
    assert format_timestamp(datetime(2026, 11, 22, 20, 41, 59, tzinfo=UTC)) == "2026-11-22 20:41 UTC"
    assert format_timestamp(None) == "–"


def test_what_is_filled_in_is_escaped_and_must_be_there() -> None:
    pages = Pages(lambda name: f"/static/{name}")
    shown = pages.render("sign_in.html", caller=None, provider=None, next="/", error="<script>alert(1)</script>")
    assert "<script>alert" not in shown
    assert "&lt;script&gt;" in shown
    with pytest.raises(UndefinedError):
        pages.render("sign_in.html", caller=None, provider=None)


def test_a_sparkline_rises_to_the_right_and_keeps_its_ends() -> None:
    assert draw_sparkline([0.1]) == ""
    assert draw_sparkline([0.1, 0.3, 0.2]) == "2.0,22.0 48.0,2.0 94.0,12.0"
    assert draw_sparkline([0.2, 0.2]) == "2.0,22.0 94.0,22.0"
    points = draw_sparkline([number / 1000 for number in range(1000)]).split()
    assert (len(points), points[0], points[-1]) == (48, "2.0,22.0", "94.0,2.0")
