"""The statistics of a comparison against scipy and against numbers worked out by hand."""

import pytest
from scipy import stats

from paploss.client.comparison import RateResult
from paploss.controller.experiments.comparison import Measured, compare, paired_difference
from paploss.jobs.losses import CEL1, FocalL1
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.published_results import PUBLISHED_RESULTS

FOCAL = FocalL1()
FIRST = {1: 0.20, 2: 0.22, 3: 0.27}
OTHER = {1: 0.25, 2: 0.29, 3: 0.30}


def test_the_paired_difference_is_that_of_scipys_paired_test() -> None:
    difference = paired_difference(OTHER, FIRST)
    expected = stats.ttest_rel(list(OTHER.values()), list(FIRST.values())).confidence_interval(0.95)
    assert difference is not None
    assert difference.mean == pytest.approx(0.05)
    assert difference.interval == pytest.approx((expected.low, expected.high))
    assert difference.seeds == 3


def test_only_shared_seeds_are_paired() -> None:
    difference = paired_difference({1: 0.3, 2: 0.5, 9: 0.9}, {2: 0.4, 1: 0.3, 7: 0.0})
    assert difference is not None
    assert (difference.mean, difference.seeds) == (pytest.approx(0.05), 2)
    assert paired_difference({1: 0.3}, {2: 0.3}) is None


def test_one_seed_has_a_mean_and_nothing_that_needs_two() -> None:
    first, other = compare([Measured("a", FOCAL, {1: 0.2}), Measured("b", FOCAL, {1: 0.3})], "a", "retinanet-tiny")
    assert (first.mean, first.standard_deviation, first.interval, first.difference) == (0.2, None, None, None)
    assert other.difference is not None
    assert (other.difference.mean, other.difference.interval) == (pytest.approx(0.1), None)
    assert other.remark == "one seed: no spread, no interval"


def test_failed_and_diverged_trainings_are_told_and_never_filled_in() -> None:
    failing = Measured("b", FOCAL, {1: 0.3, 2: 0.0}, failed=[3], diverged=[2])
    _, row = compare([Measured("a", FOCAL, FIRST), failing], "a", "retinanet-tiny")
    assert row.rewards == {1: 0.3, 2: 0.0}
    assert row.mean == pytest.approx(0.15)
    assert row.difference is not None
    assert row.difference.seeds == 2
    assert row.remark == "seed 3 ended without a result; diverged with seed 2: AP 0"


def test_a_loss_without_any_ap_has_no_numbers() -> None:
    _, row = compare([Measured("a", FOCAL, FIRST), Measured("b", FOCAL, failed=[1, 2, 3])], "a", "retinanet-tiny")
    assert (row.mean, row.standard_deviation, row.interval, row.difference) == (None, None, None, None)
    assert row.remark == "seeds 1, 2, 3 ended without a result"


def test_the_reference_may_be_any_row() -> None:
    first, other = compare([Measured("a", FOCAL, FIRST), Measured("b", FOCAL, OTHER)], "b", "retinanet-tiny")
    assert first.difference is not None
    assert first.difference.mean == pytest.approx(-0.05)
    assert other.difference is None


def test_the_published_ap_of_the_parameterized_loss_is_that_of_the_published_parameters_alone() -> None:
    given = [Measured("p", PRESETS["retinanet"]), Measured("i", identity(["bbox_head"])), Measured("f", FOCAL)]
    rows = compare(given, "p", "retinanet-tiny")
    assert [row.published_ap for row in rows] == [0.405, None, 0.375]
    assert [row.published_ap for row in compare(given, "p", "synthetic")] == [None, None, None]


def test_published_rows_that_cannot_be_trained_stay_with_their_reason() -> None:
    rows = compare([Measured("a", CEL1(), FIRST)], "a", "faster-rcnn-tiny")
    (kept,) = [row for row in rows if row.loss is None]
    (published,) = [row for row in PUBLISHED_RESULTS if row.loss is None]
    assert (kept.label, kept.published_ap, kept.mean) == (published.title, published.ap, None)
    assert published.remark in kept.remark


def test_a_check_without_a_result_is_told() -> None:
    check = (RateResult(factor=1, ap=None), RateResult(factor=2, ap=None))
    (row,) = compare([Measured("a", FOCAL, FIRST, learning_rate_factor=1.0, rate_check=check)], "a", "retinanet-tiny")
    assert row.remark == "no learning-rate check ended with a result: trained at the profile's rate"


@pytest.mark.parametrize(
    ("aps", "chosen", "remark"),
    [
        ({1: 0.1, 2: 0.3, 4: 0.2}, 2, ""),
        ({1: 0.1, 2: 0.2, 4: 0.3}, 4, "its learning rate is the largest that was tried: a better one may lie beyond"),
        ({1: 0.3, 2: 0.2, 4: None}, 1, "its learning rate is the smallest that was tried: a better one may lie beyond"),
        ({1: 0.3}, 1, ""),
    ],
)
def test_a_rate_at_the_end_of_what_was_tried_is_told(
    aps: dict[float, float | None], chosen: float, remark: str
) -> None:
    check = [RateResult(factor=factor, ap=ap) for factor, ap in aps.items()]
    (row,) = compare(
        [Measured("a", FOCAL, FIRST, learning_rate_factor=chosen, rate_check=check)], "a", "retinanet-tiny"
    )
    assert row.remark == remark


def test_a_large_rate_that_was_tried_in_shorter_trainings_may_be_too_high() -> None:
    check = [RateResult(factor=factor, ap=factor / 10) for factor in (1, 2)]
    one = Measured("a", FOCAL, FIRST, learning_rate_factor=2.0, rate_check=check, is_checked_briefly=True)
    (row,) = compare([one], "a", "retinanet-tiny")
    assert row.remark.endswith("a better one may lie beyond, or it is too high, for it was tried in shorter trainings")


@pytest.mark.parametrize(("is_checked_briefly", "remarks"), [(True, 0), (False, 1)])
def test_the_profiles_rate_as_the_largest_is_told_only_where_a_greater_one_could_have_been_tried(
    is_checked_briefly: bool, remarks: int
) -> None:
    check = [RateResult(factor=factor, ap=factor / 10) for factor in (0.5, 1)]
    one = Measured("a", FOCAL, FIRST, learning_rate_factor=1.0, rate_check=check, is_checked_briefly=is_checked_briefly)
    (row,) = compare([one], "a", "retinanet-tiny")
    assert row.remark.count("its learning rate is the largest that was tried") == remarks
