"""Figures are valid for plotly and show what was given."""

import json
from typing import Any

import pytest
from plotly import graph_objects
from simulation import metrics

from paploss.client.models import Theme
from paploss.controller.web.figures import TrialPoint, breakdown, functions, learning_curve, rewards
from paploss.controller.web.style import PALETTES
from paploss.jobs.losses import HeadLoss
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.spec import EvaluationEvent

TRIALS = [
    TrialPoint("t-0", 0, 0, 0.10),
    TrialPoint("t-1", 1, 0, 0.30),
    TrialPoint("t-2", 2, 1, 0.20, pruned=True),
    TrialPoint("t-3", 3, 2, 0.25),
]
PUBLISHED = PRESETS["retinanet"].heads["bbox_head"]


def series(figure: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in figure["data"]}


@pytest.mark.parametrize("theme", list(PALETTES))
def test_plotly_accepts_every_figure(theme: Theme) -> None:
    curve = [EvaluationEvent(iteration=10, total_iterations=20, metrics=metrics(0.2))]
    for figure in (
        rewards(TRIALS, 5, theme),
        rewards([], 5, theme),
        functions([("mine", PUBLISHED)], PUBLISHED, theme=theme),
        learning_curve(curve, theme),
        learning_curve([], theme),
    ):
        graph_objects.Figure(figure)  # raises ValueError where a property is unknown


def test_rewards_show_every_trial_the_means_and_the_best_so_far() -> None:
    drawn = series(rewards(TRIALS, 5))
    assert drawn["trial"]["y"] == [10.0, 30.0, 25.0]
    assert drawn["pruned"]["customdata"] == ["t-2"]
    assert (drawn["round mean"]["x"], drawn["round mean"]["y"]) == ([1, 2, 3], [20.0, 20.0, 25.0])
    assert drawn["best so far"]["y"] == [30.0, 30.0, 30.0]
    assert [round(x) for x in drawn["trial"]["x"]] == [1, 1, 3]


def test_the_axis_reaches_as_far_as_the_search_will_go() -> None:
    assert rewards(TRIALS, 40)["layout"]["xaxis"]["range"] == [0.5, 40.5]
    assert rewards(TRIALS, 2)["layout"]["xaxis"]["range"] == [0.5, 3.5]


def test_functions_are_drawn_beside_identity_and_published() -> None:
    figure = functions([("mine", identity(["h"]).heads["h"])], PUBLISHED)
    assert [trace["name"] for trace in figure["data"][:3]] == ["identity", "published", "mine"]
    assert len(figure["data"]) == 15
    assert figure["data"][1]["y"] == [y for _, y in PUBLISHED.control_points[0]]
    assert sum(trace["showlegend"] for trace in figure["data"]) == 3
    assert [title["text"][3:5] for title in figure["layout"]["annotations"]] == ["H2", "I2", "I3", "I1", "H1"]


def test_a_loss_of_four_functions_has_four_curves() -> None:
    four = HeadLoss(control_points=PUBLISHED.control_points[:4])
    figure = functions([("mine", four)], PUBLISHED)
    assert len(figure["layout"]["annotations"]) == 4


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_small_multiples_stay_inside_and_apart(columns: int) -> None:
    layout = functions([("mine", PUBLISHED)], columns=columns)["layout"]
    boxes = []
    for number in range(1, 6):
        suffix = "" if number == 1 else str(number)
        boxes.append((*layout[f"xaxis{suffix}"]["domain"], *layout[f"yaxis{suffix}"]["domain"]))
    for left, right, bottom, top in boxes:
        assert 0 <= left < right <= 1 + 1e-9
        assert 0 <= bottom < top <= 1
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart_x = one[1] <= other[0] or other[1] <= one[0]
            apart_y = one[3] <= other[2] or other[3] <= one[2]
            assert apart_x or apart_y


def test_a_wrong_number_of_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 5, got 0"):
        functions([("mine", PUBLISHED)], columns=0)


def test_what_was_not_measured_is_a_gap() -> None:
    missing = metrics(0.2).model_copy(update={"ap75": -1.0})
    curve = learning_curve([EvaluationEvent(iteration=10, total_iterations=20, metrics=missing)])
    assert series(curve)["AP75"]["y"] == [None]
    assert series(curve)["AP"]["y"] == [20.0]


def test_names_are_not_read_as_markup() -> None:
    name = "cell <b>"
    by_class = breakdown(metrics(0.5).model_copy(update={"per_class": {name: 0.4}}))
    (classes,) = [series["y"][1] for series in by_class["data"] if series["name"] == "class"]
    assert classes == ["cell &lt;b&gt;"]
    shown = json.dumps([by_class, rewards([], 1, f"AP of {name}"), learning_curve([], f"AP of {name}")])
    assert name not in shown
    assert "AP of cell &lt;b&gt;" in shown


def test_the_breakdown_shows_every_iou_that_was_measured() -> None:
    measured = metrics(0.2).model_copy(update={"ap_by_iou": tuple(0.4 - 0.04 * step for step in range(10))})
    (names,) = [series["y"][1] for series in breakdown(measured)["data"] if series["name"] == "all"]
    assert names == ["AP", *(f"AP{iou}" for iou in range(50, 100, 5))]


def _luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", list(PALETTES))
def test_lines_stand_out_from_the_surface(theme: Theme) -> None:
    colours = PALETTES[theme]
    surface = _luminance(colours.surface)
    for name in ("trial", "mean", "best", "published", "identity", "ink", "muted"):
        lighter, darker = sorted([_luminance(getattr(colours, name)), surface], reverse=True)
        needed = 4.5 if name in {"ink", "muted"} else 3
        assert (lighter + 0.05) / (darker + 0.05) >= needed, name
    for colour in colours.series:
        lighter, darker = sorted([_luminance(colour), surface], reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 3, colour
