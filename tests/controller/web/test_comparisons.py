"""The figure of a comparison is valid for plotly and shows what was given."""

import pytest
from plotly import graph_objects

from paploss.client.comparison import Comparison
from paploss.client.models import Theme
from paploss.controller.experiments.comparison import Measured, compare
from paploss.controller.web.comparisons import draw_comparison
from paploss.controller.web.style import PALETTES
from paploss.jobs.losses import ALRP, CEL1, CSEAutoLossA

LOSSES = (
    Measured("CE", CEL1(), {1: 0.2, 2: 0.22}),
    Measured("aLRP", ALRP(), {1: 0.3}),
    Measured("A", CSEAutoLossA()),
)


def report(profile: str = "faster-rcnn-tiny") -> Comparison:
    return Comparison(
        profile=profile,
        dataset="cells",
        split="test",
        schedule="final",
        seeds=(1, 2),
        reference="CE",
        rows=compare(LOSSES, "CE", profile),
    )


@pytest.mark.parametrize("theme", list(PALETTES))
def test_plotly_accepts_it(theme: Theme) -> None:
    graph_objects.Figure(draw_comparison(report(), theme))
    graph_objects.Figure(draw_comparison(report("synthetic"), theme))


def test_every_row_has_its_line_its_seeds_its_mean_and_its_published_ap() -> None:
    figure = draw_comparison(report())
    seeds, means, cut, published = figure["data"]
    assert figure["layout"]["yaxis"]["ticktext"] == ["<b>CE</b>", "aLRP", "A", "AutoLoss-Zero"]
    assert (seeds["x"], seeds["y"]) == ([20.0, 22.0, 30.0], [0, 0, 1])
    assert (means["x"], means["y"]) == ([21.0, 30.0], [0, 1])
    low, high = figure["layout"]["xaxis"]["range"]
    assert means["error_x"]["array"] == [pytest.approx(high - 21.0), 0]  # one seed has no interval
    assert means["error_x"]["arrayminus"] == [pytest.approx(21.0 - low), 0]
    assert (cut["x"], cut["y"]) == ([low, high], [0, 0])  # 21 +- 12.7, which is t(0.975; 1) * sqrt(2) / sqrt(2)
    assert cut["text"][0] == "CE: 8.29 to 33.71"
    assert (published["x"], published["y"]) == ([39.0, 40.7, 40.4, 39.3], [0, 1, 2, 3])


def test_without_published_results_there_is_one_panel() -> None:
    figure = draw_comparison(report("synthetic"))
    assert [trace["name"] for trace in figure["data"]] == ["one seed", "mean, 95 % interval", "the interval goes on"]
    assert "xaxis2" not in figure["layout"]


def test_long_labels_are_broken_and_not_read_as_markup() -> None:
    losses = (Measured("Parameterized AP, found <b>here</b> at last", CEL1(), {1: 0.2}),)
    rows = compare(losses, losses[0].label, "synthetic")
    drawn = draw_comparison(report().model_copy(update={"rows": rows, "reference": "another"}))
    assert drawn["layout"]["yaxis"]["ticktext"] == ["Parameterized AP,<br>found &lt;b&gt;here&lt;/b&gt;<br>at last"]
