"""Figures of what was detected: what they say, and that labels are text."""

from analyses import make_summary
from plotly import graph_objects

from paploss.client.detections import LossDetections
from paploss.controller.web.detection_figures import error_costs, precision_recall
from paploss.jobs.analysis import ERROR_KINDS


def loss(label: str, cost: float) -> LossDetections:
    summary = make_summary(cost)
    return LossDetections(
        **{name: getattr(summary, name) for name in ("recall", "precision", "errors", "threshold")},
        label=label,
        trainings=1,
        trial_id="t-0",
        seed=0,
        pictures=[],
    )


def test_costs_are_drawn_in_points_of_ap50_for_each_kind_and_loss() -> None:
    figure = error_costs([loss("one", 0.1), loss("other", 0.25)])
    assert graph_objects.Figure(figure)
    assert [bar["y"] for bar in figure["data"]] == [list(ERROR_KINDS)] * 2
    assert [bar["x"] for bar in figure["data"]] == [[10.0] * 6, [25.0] * 6]
    assert figure["layout"]["showlegend"]


def test_each_loss_has_a_colour_and_each_iou_a_kind_of_line() -> None:
    figure = precision_recall([loss("one", 0.1), loss("other", 0.25)])
    assert graph_objects.Figure(figure)
    lines = [(line["line"]["color"], line["line"]["dash"]) for line in figure["data"]]
    assert len(set(lines)) == 6
    assert len({colour for colour, _ in lines}) == 2
    assert [line["name"] for line in figure["data"]][:2] == ["one, IoU 0.5", "one, IoU 0.75"]
    assert (figure["data"][0]["x"][50], figure["data"][0]["y"][0]) == (50, 100)


def test_a_label_is_text() -> None:
    for draw in (error_costs, precision_recall):
        names = " ".join(series["name"] for series in draw([loss("<b>bold</b>", 0.1), loss("other", 0.1)])["data"])
        assert "<b>" not in names
        assert "&lt;b&gt;" in names
