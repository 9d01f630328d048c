"""Figures of several experiments, and of one search's trials, are valid for plotly and show what was given."""

import pytest
from plotly import graph_objects

from paploss.client.models import Theme
from paploss.controller.web.compared_figures import Column, Course, best_so_far, parallel, scatter
from paploss.controller.web.style import PALETTES

REWARDS = [0.1, 0.3, 0.2, 0.4]
THETA = Column("bbox_head.H2.knot1.x", "H2 knot 1 x", [0.2, 0.4, 0.6, 0.8], ends=(0.0, 1.0))
AP50 = Column("AP50", "AP50", [0.2, None, 0.4, 0.6], is_fraction=True)
COURSE = Course("a", [1, 4, 9], [0.1, 0.25, 0.25], "AP")


@pytest.mark.parametrize("theme", list(PALETTES))
def test_plotly_accepts_every_figure(theme: Theme) -> None:
    for figure in (
        best_so_far([COURSE, Course("b", [2.5], [0.2], "AP75")], "hours", theme),
        parallel([THETA, AP50], REWARDS, theme),
        scatter(["0k-000000"] * 4, THETA, AP50, theme),
    ):
        graph_objects.Figure(figure)  # raises ValueError where a property is unknown


def test_a_course_is_in_percent_over_what_was_spent_and_its_name_is_text() -> None:
    figure = best_so_far([COURSE, Course("<b>", [2.5], [0.2], "AP75")], "hours")
    first, second = figure["data"]
    assert (first["x"], first["y"]) == ([1, 4, 9], [10.0, 25.0, 25.0])
    assert (second["name"], second["mode"]) == ("&lt;b&gt;", "markers")
    assert figure["layout"]["yaxis"]["title"]["text"] == "best AP or AP75 so far (%)"


def test_many_courses_differ_in_colour_or_dash() -> None:
    figure = best_so_far([COURSE] * 16, "hours")
    assert len({(trace["line"]["color"], trace["line"].get("dash")) for trace in figure["data"]}) == 16


def test_lines_are_scaled_to_their_ends_and_the_best_come_last() -> None:
    figure = parallel([THETA, AP50], REWARDS)
    assert figure["layout"]["xaxis"]["ticktext"] == ["H2 knot 1 x", "AP50, 20.0 to 60.0"]
    assert [trace["name"] for trace in figure["data"]] == ["lowest quarter", "middle half", "next 15 %", "best 10 %"]
    drawn = [trace["y"] for trace in figure["data"]]
    assert drawn[0] == [0.2, 0.0, None]  # theta in [0, 1], AP50 from its lowest to its highest
    assert drawn[1] == [0.6, 0.5, None, 0.4, None, None]
    assert drawn[2] + drawn[3] == [0.8, 1.0, None]


def test_dots_open_their_trials_and_fractions_are_in_percent() -> None:
    (dots,) = scatter(["0k-000007", "0k-000008", "0k-000009", "0k-000010"], THETA, AP50)["data"]
    assert dots["x"] == [0.2, 0.4, 0.6, 0.8]
    assert dots["y"] == [20.0, None, 40.0, 60.0]
    assert dots["customdata"][0] == "0k-000007"
    assert dots["text"][3] == "trial 10"
