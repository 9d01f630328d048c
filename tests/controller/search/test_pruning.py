import pytest

from paploss.controller.search.pruning import threshold

# Final APs (percent) of twelve random samples of the start policy, measured; at half their training, about half of it.
MEASURED = [22.9, 7.5, 0.0, 22.1, 13.3, 0.4, 2.0, 0.4, 22.6, 0.0, 21.4, 19.2]


def test_the_threshold_is_half_the_median():
    assert threshold([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(0.15)
    assert threshold([0.4, 0.1, 0.2, 0.3, 0.5, 0.5]) == pytest.approx(0.175)


def test_too_few_comparators_stop_nothing():
    assert threshold([]) is None
    assert threshold([0.5, 0.5, 0.5, 0.5]) is None


def test_of_the_measured_samples_the_hopeless_stop_and_no_other():
    halfway = [ap / 2 for ap in MEASURED]
    stopped = []
    for index, ap in enumerate(halfway):
        limit = threshold(halfway[:index] + halfway[index + 1 :])
        assert limit is not None
        if ap < limit:
            stopped.append(MEASURED[index])
    assert sorted(stopped) == [0.0, 0.0, 0.4, 0.4, 2.0]


def test_a_trial_in_the_better_half_is_never_stopped():
    for aps in ([0.2] * 9, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [ap / 100 for ap in MEASURED]):
        limit = threshold(aps)
        assert limit is not None
        assert limit <= sorted(aps)[len(aps) // 2]


def test_hopeless_majorities_stop_nothing():
    assert threshold([0.0, 0.0, 0.0, 0.2, 0.2]) == 0


def test_an_ap_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"aps\[1\]: expected a finite number, got nan"):
        threshold([0.1, float("nan")])
