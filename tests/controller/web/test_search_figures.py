"""Figures of a whole search are valid for plotly and show what was given."""

import pytest
from plotly import graph_objects
from simulation import metrics

from paploss.client.models import Theme
from paploss.controller.search.space import Space
from paploss.controller.web.figures import MOST_DOTS, TrialPoint, breakdown, functions, rewards
from paploss.controller.web.search_figures import (
    Band,
    gpu_use,
    importance,
    name_dimensions,
    policy,
)
from paploss.controller.web.style import PALETTES
from paploss.jobs.metrics import Metrics
from paploss.jobs.presets import PRESETS, identity

ONE = Space(("bbox_head",)).names
TWO = Space(("rpn_head", "bbox_head"), knots=2).names
MU = [[0.5] * len(ONE), [0.6] + [0.5] * (len(ONE) - 1)]
BANDS = {
    "busy": Band("busy", [2.0, 1.0], 0.75),
    "failed": Band("failed", [0, 0], 0),
    "idle": Band("idle", [0, 1], 0.25),
}


@pytest.mark.parametrize("theme", list(PALETTES))
def test_plotly_accepts_every_figure(theme: Theme) -> None:
    for figure in (
        policy(ONE, [0, 1], MU, [0.2, 0.1], theme),
        policy(TWO, [0], [[0.5] * len(TWO)], [0.2], theme),
        importance(ONE, MU[1], MU[1], 0.1, theme=theme),
        gpu_use([0, 60, 120], BANDS, "GPUs", theme),
        breakdown(metrics(0.2), theme),
    ):
        graph_objects.Figure(figure)  # raises ValueError where a property is unknown


def test_the_heat_map_shows_each_dimension_against_its_start() -> None:
    heat = policy(ONE, [0, 1], MU, [0.2, 0.1])["data"][0]
    assert heat["z"][0] == [0, 0.1]
    assert heat["z"][1] == [0, 0]
    assert (heat["zmin"], heat["zmax"]) == (-0.1, 0.1)
    assert policy(TWO, [0], [[0.5] * len(TWO)], [0.2])["layout"]["yaxis"]["ticktext"][-2:] == ["rpn λ", "bbox λ"]


def test_the_dimensions_that_matter_come_first() -> None:
    correlation = [0.0] * len(ONE)
    correlation[7], correlation[3] = -0.6, 0.4
    figure = importance(ONE, [0.0] * len(ONE), correlation, 0.1, most=3)
    assert figure["data"][1]["x"][:2] == [-0.6, 0.4]
    assert figure["data"][1]["y"][0] == name_dimensions(ONE)[7]
    assert (figure["layout"]["shapes"][0]["x0"], figure["layout"]["shapes"][0]["x1"]) == (-0.1, 0.1)


def test_dimensions_are_named_for_people() -> None:
    assert (name_dimensions(ONE)[0], name_dimensions(ONE)[-1]) == ("H2 knot 1 x", "gradient scale λ")
    assert name_dimensions(TWO)[0] == "rpn H2 knot 1 x"
    assert name_dimensions(Space(("bbox_head",), family="extended", searched_rate=True).names)[-4:] == [
        "weight of L1",
        "weight of GIoU",
        "error-driven",
        "learning rate",
    ]
    assert name_dimensions(Space(("rpn_head", "bbox_head"), searched_rate=True).names)[-2:] == [
        "bbox gradient scale λ",
        "learning rate",
    ]


def test_gpu_use_tells_shares_and_leaves_out_what_never_was() -> None:
    drawn = gpu_use([0, 60, 120], BANDS, "GPUs")["data"]
    assert [trace["name"] for trace in drawn] == ["busy 75 %", "idle 25 %"]
    assert drawn[0]["x"] == ["1970-01-01 00:00:30.000000", "1970-01-01 00:01:30.000000"]


def test_many_trials_are_thinned_but_all_count() -> None:
    trials = [TrialPoint(f"t-{n}", n, n // 10, 0.3 if n == 4001 else 0.1) for n in range(5000)]
    drawn = {trace["name"]: trace for trace in rewards(trials, 500)["data"]}
    assert len(drawn["trial"]["y"]) <= MOST_DOTS
    assert "t-4001" in drawn["trial"]["customdata"]
    assert drawn["round mean"]["y"][400] == pytest.approx(12.0)
    assert drawn["best so far"]["y"][-1] == 30.0


def test_two_losses_are_laid_over_each_other() -> None:
    head = PRESETS["retinanet"].heads["bbox_head"]
    figure = functions([("mine", head), ("yours", identity(["h"]).heads["h"])], head)
    assert [trace["name"] for trace in figure["data"][:4]] == ["identity", "published", "mine", "yours"]


def test_ap_by_threshold_size_and_class_leaves_out_what_was_not_measured() -> None:
    found = Metrics(
        ap=0.2, ap50=0.4, ap75=0.1, ap_small=-1, ap_medium=0.2, ap_large=0.3, per_class={"cat": 0.1, "dog": 0.3}
    )
    drawn = {trace["name"]: trace for trace in breakdown(found)["data"]}
    assert drawn["size"]["y"][1] == ["medium", "large"]
    assert drawn["class"]["y"][1] == ["dog", "cat"]
    assert drawn["all"]["x"] == [20, 40, 10]


def test_bars_of_less_than_a_second_do_not_share_a_place() -> None:
    edges = [0.0, 0.25, 0.5, 0.75, 1.0]
    drawn = gpu_use(edges, {"busy": Band("busy", [1.0] * 4, 1.0), "idle": Band("idle", [0.0] * 4, 0.0)}, "workers")
    assert len(set(drawn["data"][0]["x"])) == 4


def test_no_tick_lies_between_two_rounds_or_versions() -> None:
    for figure in (policy(ONE, [0, 1], MU, [0.2, 0.1]), rewards([], 12)):
        assert figure["layout"]["xaxis"]["dtick"] == 1


def test_one_round_is_drawn_as_marks() -> None:
    drawn = [policy(ONE, [0], MU[:1], [0.2])["data"][1]]
    drawn += [trace for trace in rewards([TrialPoint("t", 0, 0, 0.3)], 1)["data"] if trace["name"] == "best so far"]
    assert all("markers" in trace["mode"] for trace in drawn)
