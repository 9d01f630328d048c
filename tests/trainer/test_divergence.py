import pytest
import torch
from torch import nn

from paploss.trainer.divergence import DivergenceWatch, patience_of
from paploss.trainer.minimised import minimised_loss
from paploss.trainer.profiles.recipe import Head

HEADS = (Head("rpn_head", "rpn", ("loss_rpn_cls",)), Head("bbox_head", "bbox", ("loss_cls",)))


@pytest.fixture
def detector() -> nn.Module:
    detector = nn.Module()
    detector.rpn, detector.bbox = nn.Linear(2, 1), nn.Linear(2, 1)
    return detector


def run(watch: DivergenceWatch, steps: list[tuple[tuple[float, float], tuple[float, float]]]) -> int | None:
    """Number of the step at which the training has diverged."""
    for number, measured in enumerate(steps, start=1):
        if watch.update([list(pair) for pair in measured]):
            return number
    return None


FINE, STUCK, NOT_FINITE, NO_POSITIVE = (1.0, 0.1), (1.0, 0.0), (float("inf"), float("inf")), (0.0, 0.0)


@pytest.mark.parametrize("failed", [STUCK, NOT_FINITE], ids=["stuck", "nan"])
def test_more_than_50_failed_steps_of_one_head_are_a_divergence(detector, failed):
    watch = DivergenceWatch(detector, HEADS, 1000, {})
    assert run(watch, [(FINE, failed)] * 60) == 51


def test_counts_consecutive_steps_of_each_head_by_itself(detector):
    watch = DivergenceWatch(detector, HEADS, 1000, {})
    alternating = [(STUCK, FINE), (FINE, STUCK)] * 100
    assert run(watch, [*([(FINE, STUCK)] * 50), (FINE, FINE), *([(FINE, STUCK)] * 50), *alternating]) is None


def test_batches_without_a_positive_are_not_counted(detector):
    watch = DivergenceWatch(detector, HEADS, 1000, {})
    assert run(watch, [(NO_POSITIVE, NO_POSITIVE)] * 200) is None
    assert run(watch, [(FINE, STUCK), (FINE, NO_POSITIVE)] * 60) == 101


def test_short_schedules_have_less_patience():
    assert [patience_of(total) for total in (10, 100, 400, 500, 90_000)] == [5, 10, 40, 50, 50]


def test_counts_go_on_from_a_checkpoint(detector):
    watch = DivergenceWatch(detector, HEADS, 1000, {"rpn_head": 49})
    assert run(watch, [(STUCK, FINE)] * 5) == 2


def test_measures_loss_and_gradient_of_each_head(detector):
    inputs = torch.tensor([[1.0, -2.0]])
    losses = {"loss_rpn_cls": detector.rpn(inputs).sum() * 0 + 1, "loss_cls": [3 * detector.bbox(inputs).sum()]}
    minimised_loss(losses, HEADS).backward()
    measured = DivergenceWatch(detector, HEADS, 1000, {}).measure(losses)
    assert measured[0].tolist() == [1, 0]
    assert measured[1].tolist() == [pytest.approx(abs(losses["loss_cls"][0].item())), 6]


@pytest.mark.parametrize("factor", [torch.nan, torch.inf])
def test_what_is_not_finite_is_measured_as_infinite(detector, factor):
    losses = {
        "loss_rpn_cls": detector.rpn(torch.ones(1, 2)).sum(),
        "loss_cls": detector.bbox(torch.ones(1, 2)).sum() * factor,
    }
    minimised_loss(losses, HEADS).backward()
    measured = DivergenceWatch(detector, HEADS, 1000, {}).measure(losses)
    assert measured.isfinite().tolist() == [[True, True], [False, False]]
