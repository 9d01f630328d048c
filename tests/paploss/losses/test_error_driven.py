"""What AP, aLRP and Rank & Sort Loss must all do."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.measurement import count_waits
from paploss.losses import alrp_loss, ap_loss, rank_sort_loss
from tests.paploss.losses.oracle import relative_errors
from tests.paploss.losses.ranking_oracle import looped_alrp_loss, looped_ap_loss, looped_rank_sort_loss

Run = Callable[[Tensor, Tensor, Tensor, float], list[Tensor]]
"""From logits, targets (IoU, 0 or -1), regression errors of the positives and delta to values and gradients."""


def leaf(values: Tensor) -> Tensor:
    return values.detach().clone().requires_grad_()


def gradient_of(value: Tensor, inputs: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(value, inputs, retain_graph=True)
    return gradient


def classes(targets: Tensor) -> Tensor:
    return torch.where(targets > 0, 1.0, targets)


def run_ap(logits: Tensor, targets: Tensor, errors: Tensor, delta: float) -> list[Tensor]:
    s = leaf(logits)
    loss = ap_loss(s, classes(targets), delta)
    return [loss.detach(), gradient_of(loss, s)]


def run_alrp(logits: Tensor, targets: Tensor, errors: Tensor, delta: float) -> list[Tensor]:
    s, e = leaf(logits), leaf(errors)
    parts = alrp_loss(s, classes(targets), e, delta)
    gradients = [gradient_of(parts.classification, s), gradient_of(parts.regression, e)]
    return [parts.classification.detach(), parts.regression.detach(), parts.rank, *gradients]


def run_rank_sort(logits: Tensor, targets: Tensor, errors: Tensor, delta: float) -> list[Tensor]:
    s = leaf(logits)
    ranking, sorting = rank_sort_loss(s, targets, delta)
    return [ranking.detach(), sorting.detach(), gradient_of(ranking, s), gradient_of(sorting, s)]


LOSSES: dict[str, tuple[Run, Run]] = {
    "ap": (run_ap, lambda s, t, _, delta: looped_ap_loss(s, t, delta)),
    "alrp": (run_alrp, looped_alrp_loss),
    "rank_sort": (run_rank_sort, lambda s, t, _, delta: looped_rank_sort_loss(s, t, delta)),
}
of_every_loss = pytest.mark.parametrize("name", list(LOSSES))


def entries(count: int, positives: int, seed: int = 0, ignored: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Random logits, targets and regression errors in float64; a tenth of the entries ignored unless told otherwise."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(count, generator=generator)
    targets = torch.zeros(count, dtype=torch.float64)
    targets[order[:positives]] = 1 - torch.rand(positives, generator=generator, dtype=torch.float64)
    targets[order[positives : positives + (count // 10 if ignored is None else ignored)]] = -1
    logits = torch.randn(count, generator=generator, dtype=torch.float64) + (targets > 0)
    return logits, targets, torch.rand(positives, generator=generator, dtype=torch.float64)


def assert_agrees_with_the_oracle(
    name: str, logits: Tensor, targets: Tensor, errors: Tensor, delta: float = 1.0
) -> None:
    run, oracle = LOSSES[name]
    results, expected = run(logits, targets, errors, delta), oracle(logits, targets, errors, delta)
    assert all(bool(result.isfinite().all()) for result in results)
    # A gradient that vanishes has no scale of its own: the loss, of order 1, lends it one.
    differences = [
        float((r.cpu() - e).abs().max() / e.abs().max().clamp_min(1e-6)) for r, e in zip(results, expected, strict=True)
    ]
    assert max(differences) < 1e-9, differences


@of_every_loss
@pytest.mark.parametrize(("count", "positives"), [(1, 1), (2, 1), (50, 1), (40, 40), (300, 30), (1000, 257)])
@pytest.mark.parametrize("delta", [0.1, 0.5, 1.0, 4.0])
def test_agrees_with_the_oracle(name: str, count: int, positives: int, delta: float) -> None:
    assert_agrees_with_the_oracle(name, *entries(count, positives, ignored=min(count - positives, count // 10)), delta)


@of_every_loss
def test_agrees_with_the_oracle_where_all_scores_are_equal(name: str) -> None:
    logits, targets, errors = entries(200, 20)
    assert_agrees_with_the_oracle(name, torch.zeros_like(logits), targets, errors)


@of_every_loss
@pytest.mark.parametrize("gap", [-30.0, -1.0, 1.0, 30.0])
def test_agrees_with_the_oracle_where_positives_and_negatives_are_apart(name: str, gap: float) -> None:
    logits, targets, errors = entries(200, 20)
    assert_agrees_with_the_oracle(name, torch.where(targets > 0, logits + gap, logits), targets, errors)


@settings(max_examples=150)
@given(
    name=st.sampled_from(list(LOSSES)),
    levels=st.lists(st.integers(-12, 12), min_size=1, max_size=30),
    delta=st.sampled_from([1 / 7, 0.5, 1.0]),
    data=st.data(),
)
def test_agrees_with_the_oracle_where_scores_and_targets_tie(
    name: str, levels: list[int], delta: float, data: st.DataObject
) -> None:
    count = len(levels)
    some = st.lists(st.sampled_from([1.0, 0.75, 0.5, 0.0, 0.0, -1.0]), min_size=count, max_size=count)
    targets = torch.tensor(data.draw(some.filter(lambda drawn: max(drawn) > 0)), dtype=torch.float64)
    logits = torch.tensor(levels, dtype=torch.float64) / 7
    errors = torch.linspace(0, 1, int((targets > 0).sum()), dtype=torch.float64)
    assert_agrees_with_the_oracle(name, logits, targets, errors, delta)


@of_every_loss
@pytest.mark.parametrize("count", [0, 5])
def test_without_a_positive_the_loss_is_zero_and_has_a_graph(name: str, count: int, device: torch.device) -> None:
    logits = torch.tensor([torch.inf, -torch.inf, 0.0, 1.0, 2.0], device=device)[:count]
    targets = (torch.arange(count, device=device) % 2 - 1).float()
    run, _ = LOSSES[name]
    results = run(logits, targets, torch.empty(0, device=device), 1.0)
    assert all(bool((result == 0).all()) for result in results)


@of_every_loss
def test_without_a_negative_the_ranking_has_no_error(name: str) -> None:
    logits, targets, errors = entries(30, 30)
    value, *rest = LOSSES[name][0](logits, targets, errors, 1.0)
    assert value == 0
    gradient_to_logits = rest[{"ap": -1, "alrp": -2, "rank_sort": -2}[name]]
    assert not gradient_to_logits.any()


def test_a_count_of_false_positives_that_is_rounding_gives_negatives_no_gradient() -> None:
    logits = torch.tensor([0.0, -1 + 1e-11], dtype=torch.float64, requires_grad=True)  # H is 5e-12
    ap_loss(logits, torch.tensor([1, 0])).backward()
    assert logits.grad is not None
    assert logits.grad[1] == 0


@of_every_loss
def test_ignored_entries_have_no_part(name: str, device: torch.device, rounding: dict[str, float]) -> None:
    run, _ = LOSSES[name]
    logits, targets, errors = (x.to(device) for x in entries(300, 30))
    expected = run(logits, targets, errors, 1.0)
    logits[targets == -1] = torch.nan
    results = run(logits, targets, errors, 1.0)
    torch.testing.assert_close(results, expected, **rounding)
    assert all(bool((r[targets == -1] == 0).all()) for r in results if r.shape == logits.shape)


@of_every_loss
def test_infinite_logits_of_negatives_are_the_limit_of_large_ones(name: str) -> None:
    logits, targets, errors = entries(50, 10)
    negatives = (targets == 0).nonzero().squeeze(1)
    outcomes = []
    for far in (1e3, torch.inf):
        logits[negatives[0]], logits[negatives[1]] = far, -far
        outcomes.append(LOSSES[name][0](logits, targets, errors, 1.0))
    assert max(relative_errors(*outcomes)) < 1e-14


@of_every_loss
def test_a_common_offset_changes_nothing(name: str) -> None:
    run, _ = LOSSES[name]
    logits, targets, errors = entries(500, 50)
    logits = (logits * 2**20).round() / 2**20  # so that the sum is exact
    near, far = (run(logits + offset, targets, errors, 1.0) for offset in (0, 2**30))
    assert max(relative_errors(far, near)) < 1e-13


@of_every_loss
def test_the_order_of_the_entries_does_not_matter(name: str) -> None:
    run, _ = LOSSES[name]
    logits, targets, _ = entries(500, 50)
    errors = targets[targets > 0]
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    results = run(logits[order], targets[order], targets[order][targets[order] > 0], 1.0)
    of_positives = order[targets[order] > 0]
    for result, expected in zip(results, run(logits, targets, errors, 1.0), strict=True):
        if result.shape == errors.shape:
            spread = torch.zeros_like(logits)
            spread[targets > 0] = expected
            torch.testing.assert_close(result, spread[of_positives])
        else:
            torch.testing.assert_close(result, expected[order] if expected.ndim else expected)


@of_every_loss
def test_what_one_moves_up_others_move_down(name: str) -> None:
    logits, targets, errors = entries(1000, 100)
    gradients = [x for x in LOSSES[name][0](logits, targets, errors, 0.5) if x.shape == logits.shape]
    assert gradients
    assert all(abs(float(gradient.sum())) < 1e-12 for gradient in gradients)


@of_every_loss
def test_float32_stays_within_1e_6_of_float64_for_a_million_entries(name: str, device: torch.device) -> None:
    run, _ = LOSSES[name]
    logits, targets, errors = (x.to(device).float() for x in entries(10**6, 1000))
    results = run(logits, targets, errors, 1.0)
    expected = run(logits.double(), targets.double(), errors.double(), 1.0)
    assert all(result.dtype == torch.float32 for result in results)
    assert max(relative_errors(results, expected)) < 1e-6


@of_every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_keeps_its_gradient_dtype(
    name: str, dtype: torch.dtype, device: torch.device
) -> None:
    run, _ = LOSSES[name]
    logits, targets, errors = (x.to(device, dtype) for x in entries(500, 50))
    results = run(logits, targets, errors, 1.0)
    expected = run(logits.double(), targets.double(), errors.double(), 1.0)
    values = {"ap": 1, "alrp": 3, "rank_sort": 2}[name]
    assert [result.dtype for result in results] == [torch.float32] * values + [dtype] * (len(results) - values)
    assert max(relative_errors(results[:values], expected[:values])) < 1e-6
    assert max(relative_errors(results, expected)) < 1e-2


@of_every_loss
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": torch.zeros(3)}, r"logits, targets: expected one shape \[N\], received \[4\], \[3\]"),
        ({"logits": torch.zeros(2, 2)}, r"expected one shape \[N\], received \[2, 2\], \[4\]"),
        ({"delta": 0.0}, "delta: expected a finite number above 0, received 0.0"),
        ({"delta": torch.nan}, "delta: expected a finite number above 0, received nan"),
        ({"logits": torch.tensor([0.0, torch.nan, 0.0, 0.0])}, "logits: expected numbers, received NaN"),
        ({"logits": torch.tensor([torch.inf, 0.0, 0.0, 0.0])}, "logits: expected finite numbers at positives"),
        ({"targets": torch.tensor([1.0, 2.0, 0.0, 0.0])}, "targets: expected .*, received 2.0"),
        ({"targets": torch.tensor([1.0, -0.5, 0.0, 0.0])}, "targets: expected .*, received -0.5"),
        ({"targets": torch.tensor([1.0, torch.nan, 0.0, 0.0])}, "targets: expected .*, received nan"),
    ],
)
def test_bad_input_is_named(name: str, change: dict[str, Tensor | float], message: str) -> None:
    arguments: dict[str, Tensor | float] = {"logits": torch.zeros(4), "targets": torch.tensor([1.0, 0.0, 0.0, -1.0])}
    arguments |= {"regression_error": torch.zeros(1)} if name == "alrp" else {}
    loss = {"ap": ap_loss, "alrp": alrp_loss, "rank_sort": rank_sort_loss}[name]
    with pytest.raises(ValueError, match=message):
        loss(**(arguments | change))


@of_every_loss
def test_on_a_gpu_nan_shows_in_the_loss_and_only_one_wait_is_left(name: str, gpu: torch.device) -> None:
    run, _ = LOSSES[name]
    logits, targets, errors = (x.to(gpu) for x in entries(1000, 50))
    assert count_waits(lambda: run(logits, targets, errors, 1.0)) == 1
    logits[targets == 0] = torch.nan
    assert run(logits, targets, errors, 1.0)[0].isnan()
