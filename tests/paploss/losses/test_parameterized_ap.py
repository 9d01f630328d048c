import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.measurement import count_waits
from paploss.losses import ParameterizedAPLoss, identity_control_points, parameterized_ap_loss
from paploss.losses.entries import QUALITY_SLACK
from tests.paploss.losses.oracle import pairwise_parameterized_ap_loss, relative_errors, value_and_gradients

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "losses.npz")

PUBLISHED = torch.tensor(
    [
        [[0, 0], [0.4182, 0.0277], [0.4948, 0.2187], [0.6882, 0.2624], [0.802, 0.6688], [1, 1]],
        [[0, 0], [0.1279, 0.3696], [0.3056, 0.4708], [0.5198, 0.529], [0.6983, 0.6709], [1, 1]],
        [[0, 0], [0.0931, 0.0289], [0.3607, 0.5585], [0.4823, 0.7131], [0.6291, 0.8162], [1, 1]],
        [[0, 0], [0.4914, 0.1499], [0.5492, 0.1664], [0.6259, 0.3051], [0.7945, 0.6195], [1, 1]],
        [[0, 0], [0.413, 0.0798], [0.4356, 0.3571], [0.5361, 0.7063], [0.8097, 0.9083], [1, 1]],
    ],
    dtype=torch.float64,
)
"""Of RetinaNet."""


def golden(case: int, name: str) -> Tensor:
    return torch.from_numpy(np.array(GOLDEN[f"pap{case}_{name}"]))


def entries(count: int, positives: int, seed: int = 0, ignored: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Random logits, quality and targets in float64, about a tenth of the entries ignored unless told otherwise."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.zeros(count, dtype=torch.int64)
    order = torch.randperm(count, generator=generator)
    targets[order[:positives]] = 1
    targets[order[positives : positives + (count // 10 if ignored is None else ignored)]] = -1
    logits = torch.randn(count, generator=generator, dtype=torch.float64) + (targets == 1)
    return logits, torch.rand(count, generator=generator, dtype=torch.float64), targets


def row(*interior: tuple[float, float]) -> Tensor:
    return torch.tensor([(0.0, 0.0), *interior, (1.0, 1.0)], dtype=torch.float64)


def assert_agrees_with_the_oracle(
    logits: Tensor, quality: Tensor, targets: Tensor, control_points: Tensor, tolerance: float = 1e-9
) -> None:
    arguments = (logits, quality, targets, control_points)
    expected = value_and_gradients(pairwise_parameterized_ap_loss, *arguments)
    results = value_and_gradients(parameterized_ap_loss, *arguments)
    assert all(bool(result.isfinite().all()) for result in results)
    # A gradient that vanishes has no scale of its own: the loss, of order 1, lends it one.
    scales = [torch.maximum(e.abs().max(), torch.tensor(1e-6, dtype=e.dtype, device=e.device)) for e in expected]
    errors = [float((r - e).abs().max() / scale) for r, e, scale in zip(results, expected, scales, strict=True)]
    assert max(errors) < tolerance, f"value, logits, quality: {errors}"


@pytest.mark.parametrize("case", range(7))
def test_agrees_with_the_released_program(case: int, device: torch.device) -> None:
    top_k = int(golden(case, "num_topk"))
    results = value_and_gradients(
        parameterized_ap_loss,
        golden(case, "logits").to(device),
        golden(case, "quality").to(device),
        golden(case, "targets").to(device),
        golden(case, "control_points").view(5, -1, 2).to(device),
        top_k if top_k < golden(case, "logits").numel() else None,
    )
    expected = [golden(case, name) for name in ("loss", "grad_logits", "grad_quality_pos")]
    assert max(relative_errors([r.cpu() for r in results], expected)) < 1e-9


def test_two_equal_logits_by_hand() -> None:
    # z = 1/2 for both pairs; the positive has w = 0, so A = 1/2, B = 1, and L = (1 - 1 + 1 * 1/2 / 1) / 1.
    logits, quality, targets = torch.zeros(2), torch.ones(2), torch.tensor([1, 0])
    loss, grad_logits, _ = value_and_gradients(
        parameterized_ap_loss, logits, quality, targets, identity_control_points()
    )
    assert loss.item() == pytest.approx(0.5, abs=1e-7)
    assert grad_logits.tolist() == pytest.approx([-0.5, 0.5], abs=1e-7)


@pytest.mark.parametrize(
    ("count", "positives", "ignored"),
    [(500, 40, 50), (300, 300, 0), (300, 1, 30), (1, 1, 0), (50, 40, 10), (60, 1, 59), (3000, 200, 0)],
    ids=["mixed", "all positive", "single positive", "one entry", "no negative", "only itself", "many"],
)
@pytest.mark.parametrize("rows", [4, 5])
def test_agrees_with_the_pairwise_oracle(
    count: int, positives: int, ignored: int, rows: int, device: torch.device
) -> None:
    logits, quality, targets = (x.to(device) for x in entries(count, positives, ignored=ignored))
    assert_agrees_with_the_oracle(logits, quality, targets, PUBLISHED[:rows].to(device))


@pytest.mark.parametrize("rows", [4, 5])
def test_ties_and_differences_exactly_at_knots_agree_with_the_oracle(rows: int, device: torch.device) -> None:
    logits, quality, targets = (x.to(device) for x in entries(400, 60))
    logits, quality = (logits * 4).round() / 4, (quality * 4).round() / 4  # exact in binary, as are the knots
    steps = torch.stack([row((0.25, 0.5), (0.25, 0.75), (0.5, 0.75), (0.5, 0.875)) for _ in range(rows)])
    assert_agrees_with_the_oracle(logits, quality, targets, steps.to(device))


DEGENERATE = {
    "jump at 0": [(0.0, 0.5)],
    "jump at 1": [(1.0, 0.5)],
    "jumps at 0 and 1": [(0.0, 0.3), (1.0, 0.6)],
    "several jumps at 1": [(0.5, 0.1), (1.0, 0.2), (1.0, 0.4), (1.0, 0.9)],
    "all at the start": [(0.0, 0.0)] * 4,
    "all at the end": [(1.0, 1.0)] * 4,
    "zero until 1": [(0.2, 0.0), (0.9, 0.0), (1.0, 0.0)],
    "one from 0": [(0.0, 1.0)] * 4,
    "jump in the middle": [(0.5, 0.0), (0.5, 1.0)],
    "flat": [(0.2, 0.5), (0.8, 0.5)],
}


@pytest.mark.parametrize("interior", DEGENERATE.values(), ids=DEGENERATE.keys())
@pytest.mark.parametrize("which", [*range(5), "all"])
@pytest.mark.parametrize("tied", [False, True])
def test_degenerate_functions_stay_exact_and_finite(
    interior: list[tuple[float, float]], which: int | str, tied: bool
) -> None:
    logits, quality, targets = entries(200, 20)
    if tied:
        logits, quality = (logits * 2).round() / 2, quality.round()
    identity = torch.tensor([(i / (len(interior) + 1),) * 2 for i in range(len(interior) + 2)], dtype=torch.float64)
    rows = [row(*interior) if which in (k, "all") else identity for k in range(5)]
    assert_agrees_with_the_oracle(logits, quality, targets, torch.stack(rows), tolerance=1e-8)


@pytest.mark.parametrize("exponent", range(3, 16))
@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 1.0])
def test_narrow_segments_agree_with_the_oracle(exponent: int, place: float) -> None:
    width = 10.0**-exponent
    left, right = max(0.0, min(place, 1 - width)), min(1.0, max(place, 0.0) + width)
    control_points = row((left, 0.2), (right, 0.7)).repeat(5, 1, 1)
    # The oracle's own slopes lose width / 1e-16 as well.
    assert_agrees_with_the_oracle(*entries(300, 30), control_points, tolerance=max(1e-9, 1e-14 / max(width, 1e-7)))


def test_a_vanishing_denominator_is_floored() -> None:
    nothing = row((0.6, 0.0), (0.8, 0.5))  # H1(1/2) = 0, and no other entry is near
    logits = torch.tensor([10.0, 0.0, -1.0], dtype=torch.float64)
    quality, targets = torch.full((3,), 0.7, dtype=torch.float64), torch.tensor([1, 0, 0])
    assert_agrees_with_the_oracle(logits, quality, targets, nothing.repeat(5, 1, 1))
    assert_agrees_with_the_oracle(logits, quality, targets, torch.stack([row((0.3, 0.3), (0.6, 0.6))] * 4 + [nothing]))


coordinates = st.sampled_from([0.0, 1.0, 0.5]) | st.floats(0, 1)


@settings(max_examples=150)
@given(
    theta=st.lists(coordinates, min_size=40, max_size=40),
    levels=st.lists(st.integers(-12, 12), min_size=1, max_size=30),
    data=st.data(),
)
def test_every_parameter_vector_is_finite_and_agrees_with_the_oracle(
    theta: list[float], levels: list[int], data: st.DataObject
) -> None:
    points = torch.zeros(5, 6, 2, dtype=torch.float64)
    for k, step in enumerate(torch.tensor(theta, dtype=torch.float64).view(5, 4, 2).unbind(1), start=1):
        points[:, k] = torch.minimum(points[:, k - 1] + step * (1 - points[:, k - 1]), torch.ones(()))
    points[:, 5] = 1
    count = len(levels)
    lists = st.lists(st.sampled_from([1, 0, -1]), min_size=count, max_size=count)
    targets = torch.tensor(data.draw(lists))
    quality = torch.tensor(data.draw(st.lists(coordinates, min_size=count, max_size=count)), dtype=torch.float64)
    logits = torch.tensor(levels, dtype=torch.float64) / 8  # many ties, and differences that are exact where knots are
    results = value_and_gradients(parameterized_ap_loss, logits, quality, targets, points)
    expected = value_and_gradients(pairwise_parameterized_ap_loss, logits, quality, targets, points)
    assert all(bool(result.isfinite().all()) for result in results)
    for result, truth in zip(results, expected, strict=True):
        torch.testing.assert_close(result, truth, rtol=1e-6, atol=1e-6 * float(expected[0].abs().clamp_min(1)))


def test_gradcheck_where_h1_is_locally_constant() -> None:
    # With the sign as H1 nothing is detached that varies, so the gradient is the derivative of the value.
    logits, quality, targets = entries(40, 8)
    control_points = PUBLISHED[:4]
    assert torch.autograd.gradcheck(
        lambda s, u: parameterized_ap_loss(s, u, targets, control_points),
        (logits.requires_grad_(), quality.requires_grad_()),
        eps=1e-7,
        atol=1e-6,
    )


@pytest.mark.parametrize("count", [0, 5])
def test_without_a_positive_the_loss_is_zero_and_has_a_graph(count: int, device: torch.device) -> None:
    logits, quality = torch.randn(count, device=device), torch.full((count,), torch.nan, device=device)
    targets = torch.arange(count, device=device) % 2 - 1
    results = value_and_gradients(parameterized_ap_loss, logits, quality, targets, PUBLISHED)
    assert all(bool((result == 0).all()) for result in results)


def test_ignored_entries_and_quality_elsewhere_have_no_part(device: torch.device, rounding: dict[str, float]) -> None:
    logits, quality, targets = (x.to(device) for x in entries(300, 30))
    loss, *_ = value_and_gradients(parameterized_ap_loss, logits, quality, targets, PUBLISHED)
    logits[targets == -1] = torch.nan
    quality[targets != 1] = torch.nan
    again, grad_logits, grad_quality = value_and_gradients(parameterized_ap_loss, logits, quality, targets, PUBLISHED)
    torch.testing.assert_close(again, loss, **rounding)
    assert bool((grad_logits[targets == -1] == 0).all())
    assert bool((grad_quality[targets != 1] == 0).all())


@pytest.mark.parametrize("positives", [0, 30, 300], ids=["none", "some", "all"])
@pytest.mark.parametrize("top_k", [None, 50])
def test_quality_of_the_positives_alone_gives_the_same(
    positives: int, top_k: int | None, device: torch.device, rounding: dict[str, float]
) -> None:
    logits, quality, targets = (x.to(device) for x in entries(300, positives, ignored=0))
    of_all = value_and_gradients(parameterized_ap_loss, logits, quality, targets, PUBLISHED, top_k)
    own = quality[targets == 1]
    of_positives = value_and_gradients(parameterized_ap_loss, logits, own, targets, PUBLISHED, top_k)
    expected = (*of_all[:2], of_all[2][targets == 1])
    torch.testing.assert_close(of_positives, expected, **rounding)


def test_a_positive_outside_the_top_k_is_ranked_but_does_not_compete() -> None:
    logits, quality, targets = torch.tensor([0.0, 0.5, 0.25]).double(), torch.ones(3).double(), torch.tensor([1, 0, 0])
    arguments = (logits, quality, targets, PUBLISHED, 1)
    expected = value_and_gradients(pairwise_parameterized_ap_loss, *arguments)
    results = value_and_gradients(parameterized_ap_loss, *arguments)
    assert max(relative_errors(results[:2], expected[:2])) < 1e-12
    assert results[1][0] < 0
    assert results[1][2] == 0


def test_infinite_logits_of_negatives_are_the_limit_of_large_ones() -> None:
    logits, quality, targets = entries(50, 10)
    negatives = (targets == 0).nonzero().squeeze(1)
    outcomes = []
    for far in (1e3, torch.inf):
        logits[negatives[0]], logits[negatives[1]] = far, -far
        outcomes.append(value_and_gradients(parameterized_ap_loss, logits, quality, targets, PUBLISHED))
    assert max(relative_errors(*outcomes)) < 1e-14


def test_a_common_offset_changes_nothing() -> None:
    logits, quality, targets = entries(500, 50)
    logits = (logits * 2**20).round() / 2**20  # so that the sum is exact
    near = value_and_gradients(parameterized_ap_loss, logits, quality, targets, PUBLISHED)
    far = value_and_gradients(parameterized_ap_loss, logits + 2**30, quality, targets, PUBLISHED)
    assert max(relative_errors(far, near)) < 1e-14


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_keeps_its_gradient_dtype(
    dtype: torch.dtype, device: torch.device
) -> None:
    logits, quality, targets = entries(500, 50)
    logits, quality, targets = logits.to(device, dtype), quality.to(device, dtype), targets.to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16 if device.type == "cpu" else dtype):
        results = value_and_gradients(parameterized_ap_loss, logits, quality, targets, PUBLISHED)
    expected = value_and_gradients(parameterized_ap_loss, logits.double(), quality.double(), targets, PUBLISHED)
    assert [result.dtype for result in results] == [torch.float32, dtype, dtype]
    assert relative_errors(results[:1], expected[:1])[0] < 1e-6
    assert max(relative_errors(results, expected)) < 1e-2


def test_float32_stays_within_1e_6_of_float64_for_a_million_entries(device: torch.device) -> None:
    logits, quality, targets = (x.to(device) for x in entries(10**6, 1000))
    logits, quality = logits.float(), quality.float()
    results = value_and_gradients(parameterized_ap_loss, logits, quality, targets, PUBLISHED)
    expected = value_and_gradients(parameterized_ap_loss, logits.double(), quality.double(), targets, PUBLISHED)
    assert results[1].dtype == torch.float32
    assert max(relative_errors(results, expected)) < 1e-6


def test_the_gradient_scales_with_what_follows() -> None:
    logits, quality, targets = entries(100, 10)
    _, plain, _ = value_and_gradients(parameterized_ap_loss, logits, quality, targets, PUBLISHED)
    _, scaled, _ = value_and_gradients(
        lambda *arguments: 3 * parameterized_ap_loss(*arguments), logits, quality, targets, PUBLISHED
    )
    torch.testing.assert_close(scaled, 3 * plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": torch.zeros(3)}, r"expected one shape \[N\], received \[4\], \[3\], \[4\]"),
        ({"quality": torch.zeros(3)}, r"quality may be \[1\] too"),
        ({"logits": torch.zeros(2, 2)}, r"expected one shape \[N\]"),
        ({"control_points": torch.zeros(3, 6, 2)}, r"control_points: expected shape .* received \[3, 6, 2\]"),
        ({"control_points": PUBLISHED * 2}, r"control_points\[0\]: expected ends"),
        ({"control_points": PUBLISHED.flip(1)}, r"control_points\[0\]: expected ends"),
        ({"control_points": PUBLISHED[:, [0, 2, 1, 3, 4, 5]]}, r"control_points\[0\]: .* never fall"),
        ({"control_points": PUBLISHED.index_fill(1, torch.tensor([2]), torch.nan)}, r"control_points\[0\]"),
        ({"logits": torch.tensor([0.0, torch.nan, 0.0, 0.0])}, "logits: expected numbers, received NaN"),
        ({"logits": torch.tensor([torch.inf, 0.0, 0.0, 0.0])}, "logits: expected finite numbers at positives"),
        ({"quality": torch.tensor([1.5, 0.0, 0.0, 0.0])}, r"quality: expected \[0, 1\] at positives, received 1.5"),
        ({"quality": torch.tensor([torch.nan, 0.0, 0.0, 0.0])}, r"quality: expected \[0, 1\] at positives"),
        ({"targets": torch.tensor([1, 0, 2, 0])}, "targets: expected 1, 0 or -1, received 2"),
        ({"targets": torch.tensor([1.0, 0.5, 0.0, 0.0])}, "targets: expected 1, 0 or -1, received 0.5"),
        ({"targets": torch.tensor([1.0, torch.nan, 0.0, 0.0])}, "targets: expected 1, 0 or -1, received nan"),
        ({"top_k": 0}, "top_k: expected at least 1, received 0"),
    ],
)
def test_bad_input_is_named(change: dict[str, Tensor], message: str) -> None:
    arguments = {
        "logits": torch.zeros(4),
        "quality": torch.zeros(4),
        "targets": torch.tensor([1, 0, 0, -1]),
        "control_points": PUBLISHED,
    }
    with pytest.raises(ValueError, match=message):
        parameterized_ap_loss(**(arguments | change))


def test_targets_may_be_unsigned() -> None:
    logits, quality, targets = entries(300, 30, ignored=0)
    expected = parameterized_ap_loss(logits, quality, targets, PUBLISHED)
    assert parameterized_ap_loss(logits, quality, targets.to(torch.uint8), PUBLISHED) == expected


def test_one_entry_is_checked_too() -> None:
    with pytest.raises(ValueError, match="logits: expected numbers, received NaN"):
        parameterized_ap_loss(torch.tensor([torch.nan]), torch.zeros(1), torch.zeros(1), PUBLISHED)


@pytest.mark.parametrize(("end", "outside"), [(-QUALITY_SLACK, -1.1e-6), (1 + QUALITY_SLACK, 1 + 1.1e-6)])
def test_rounding_may_take_a_quality_out_of_its_range_by_no_more_than_the_slack(end: float, outside: float) -> None:
    logits, targets = torch.zeros(2, dtype=torch.float64), torch.tensor([1, 0])
    assert parameterized_ap_loss(logits, torch.tensor([end], dtype=torch.float64), targets, PUBLISHED).isfinite()
    with pytest.raises(ValueError, match=r"quality: expected \[0, 1\] at positives"):
        parameterized_ap_loss(logits, torch.tensor([outside], dtype=torch.float64), targets, PUBLISHED)


def test_on_a_gpu_nan_shows_in_the_loss_and_only_one_wait_is_left(gpu: torch.device) -> None:
    logits, quality, targets = (x.to(gpu) for x in entries(1000, 50))
    control_points = PUBLISHED.to(gpu)
    step = partial(value_and_gradients, parameterized_ap_loss, logits, quality, targets, control_points)
    assert count_waits(step) == 1
    logits[targets == 0] = torch.nan
    assert parameterized_ap_loss(logits, quality, targets, control_points).isnan()


class TestModule:
    def test_computes_the_function(self, device: torch.device, rounding: dict[str, float]) -> None:
        logits, quality, targets = (x.to(device) for x in entries(100, 10))
        module = ParameterizedAPLoss(PUBLISHED, top_k=50).to(device)
        expected = parameterized_ap_loss(logits, quality, targets, PUBLISHED.to(device), top_k=50)
        torch.testing.assert_close(module(logits, quality, targets), expected, **rounding)

    def test_keeps_its_control_points_in_the_state_and_in_copies(self) -> None:
        module = ParameterizedAPLoss(PUBLISHED.float())
        assert list(module.state_dict()) == ["control_points"]
        assert torch.equal(copy.deepcopy(module).control_points, module.control_points)
        assert list(module.parameters()) == []
        assert repr(module) == "ParameterizedAPLoss(functions=5, knots=4, top_k=None)"

    def test_its_control_points_do_not_learn(self) -> None:
        points = identity_control_points().requires_grad_()
        assert points.shape == (5, 6, 2)
        assert not ParameterizedAPLoss(points).control_points.requires_grad

    def test_refuses_control_points_that_fall(self) -> None:
        with pytest.raises(ValueError, match=r"control_points\[0\]"):
            ParameterizedAPLoss(PUBLISHED[:, [0, 2, 1, 3, 4, 5]])


@pytest.mark.parametrize("knots", [0, 2, 4, 6])
def test_identity_control_points_are_lines(knots: int) -> None:
    points = identity_control_points(knots)
    assert points.shape == (5, knots + 2, 2)
    assert torch.equal(points[..., 0], points[..., 1])
    parameterized_ap_loss(*entries(10, 3), points)
