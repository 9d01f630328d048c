import pytest
import torch

from paploss.losses.entries import check_logits, select_entries


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_competitors_down_to_the_reach_below_the_lowest_positive_are_selected(dtype: torch.dtype) -> None:
    end = torch.tensor(0.5 - 2, dtype=dtype)
    below = end.nextafter(end.new_full((), -torch.inf))
    logits = torch.stack((torch.tensor(0.5, dtype=dtype), end, below, *torch.tensor([7.0, 7.0, 3.0, 0.7], dtype=dtype)))
    is_positive = torch.tensor([True, False, False, False, False, False, True])
    is_competitor = torch.tensor([False, True, True, True, False, True, True])
    positives, near = select_entries(logits, is_positive, is_competitor, reach=2.0)
    assert positives.tolist() == [0, 6]
    assert near.tolist() == [1, 3, 5, 6]


def test_a_competitor_that_is_nan_is_selected() -> None:
    logits = torch.tensor([0.0, torch.nan, -9.0])
    _, near = select_entries(logits, torch.tensor([True, False, False]), torch.tensor([False, True, True]), reach=1.0)
    assert near.tolist() == [1]


@pytest.mark.parametrize("count", [0, 4])
def test_without_a_positive_nothing_is_selected(count: int) -> None:
    logits = torch.tensor([torch.inf, 0.0, -torch.inf, 1.0])[:count]
    nowhere = torch.zeros(count, dtype=torch.bool)
    positives, near = select_entries(logits, nowhere, ~nowhere, reach=1.0)
    assert positives.tolist() == near.tolist() == []
    assert positives.dtype == near.dtype == torch.int64


def test_infinities_of_both_signs_are_no_nan() -> None:
    logits = torch.tensor([torch.inf, -torch.inf, 0.0])
    check_logits(logits, torch.tensor([False, False, True]), torch.ones(3, dtype=torch.bool))


def test_nan_counts_at_valid_entries_alone() -> None:
    logits, is_positive = torch.tensor([torch.nan, 0.0]), torch.tensor([False, True])
    check_logits(logits, is_positive, is_positive)
    with pytest.raises(ValueError, match="logits: expected numbers, received NaN"):
        check_logits(logits, is_positive, torch.ones(2, dtype=torch.bool))


@pytest.mark.parametrize("infinity", [torch.inf, -torch.inf])
def test_an_infinite_positive_is_refused(infinity: float) -> None:
    with pytest.raises(ValueError, match="logits: expected finite numbers at positives"):
        check_logits(torch.tensor([infinity, 0.0]), torch.tensor([True, False]), torch.ones(2, dtype=torch.bool))
