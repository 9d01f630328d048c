"""Each loss through the objective against the same loss called directly; batches at the edge."""

import pytest
import torch

from paploss.jobs.presets import PRESETS
from paploss.losses import alrp_loss, ap_loss, handmade_ap_loss, parameterized_ap_loss, rank_sort_loss
from paploss.trainer.heads.gradient import scale_gradient
from paploss.trainer.heads.objective import OBJECTIVES, SMALLEST_IOU, RankingObjective
from paploss.trainer.heads.quality import DeltaCorners, box_quality, decode_unit

CLASSES, BACKGROUND = 3, 3
MEANS, STDS = (0.0, 0.1, 0.0, 0.0), (0.1, 0.1, 0.2, 0.2)
POINTS = PRESETS["retinanet"].heads["bbox_head"].control_points
PARAMETERS = {"parameterized_ap": {"control_points": POINTS}, "handmade_ap": {"form": "linear"}}
NAMES = tuple(OBJECTIVES)
LABELS = torch.tensor([0, BACKGROUND, 2, BACKGROUND, 1, 0, BACKGROUND, 2])
WEIGHTS = torch.tensor([1.0, 1, 1, 0, 1, 0, 1, 1])
POSITIVES = [0, 2, 4, 7]


def objective(name: str, **changes) -> RankingObjective:
    return RankingObjective(name=name, **PARAMETERS.get(name, {}), **changes)


def candidates(class_boxes: bool = False) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    logits, deltas, delta_targets = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((8, CLASSES), (8, CLASSES, 4) if class_boxes else (8, 4), (8, 4))
    )
    return logits.requires_grad_(), deltas.requires_grad_(), delta_targets


def losses_of(found: RankingObjective, labels=LABELS, weights=WEIGHTS, *, inputs) -> dict[str, torch.Tensor]:
    logits, deltas, delta_targets = inputs
    return found.losses_of(logits, labels, weights, deltas, delta_targets, corners=DeltaCorners(MEANS, STDS))


def entries(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets of all entries, and where the positives are, entry by entry."""
    targets = torch.zeros(8, CLASSES)
    targets[WEIGHTS == 0] = -1
    for one in POSITIVES:
        targets[one, LABELS[one]] = 1
    return targets.flatten(), torch.tensor([CLASSES * one + int(LABELS[one]) for one in POSITIVES])


def boxes(deltas: torch.Tensor) -> torch.Tensor:
    return decode_unit(deltas[POSITIVES] * deltas.new_tensor(STDS) + deltas.new_tensor(MEANS))


@pytest.fixture
def direct():
    """The losses of `candidates()`, from the functions and the published formulas of the box parts."""
    logits, deltas, delta_targets = candidates()
    targets, positives = entries(logits)
    flat = logits.flatten()
    giou = 2 * box_quality(boxes(deltas), boxes(delta_targets), "giou") - 1
    iou = box_quality(boxes(deltas), boxes(delta_targets), "iou").detach()
    quality = torch.zeros_like(flat).index_put((positives,), (giou + 1) / 2)
    distance = (deltas[POSITIVES] - delta_targets[POSITIVES]).abs().sum() / len(POSITIVES)
    alrp = alrp_loss(flat, targets, (1 - giou) / (2 * (1 - 0.5)))
    sorted_ = rank_sort_loss(flat, targets.double().index_copy(0, positives, iou.clamp_min(SMALLEST_IOU)))
    weights = flat[positives].detach().sigmoid()
    box = (weights * (1 - giou)).sum() / weights.sum()
    return {
        "parameterized_ap": (parameterized_ap_loss(flat, quality, targets, torch.tensor(POINTS).double()),),
        "handmade_ap": (handmade_ap_loss(flat, quality, targets, "linear"),),
        "ap_l1": (ap_loss(flat, targets), distance),
        "alrp": (alrp.classification, 50 * alrp.regression),
        "rank_sort": (*sorted_, box * (sum(sorted_) / box).detach()),
    }, (logits, deltas)


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_those_of_the_function(name, direct):
    expected, outputs = direct
    inputs = candidates()
    losses = losses_of(objective(name), inputs=inputs)
    assert tuple(losses) == OBJECTIVES[name].loss.parts
    torch.testing.assert_close(tuple(losses.values()), expected[name])
    found = torch.autograd.grad(sum(losses.values()), inputs[:2])
    torch.testing.assert_close(found, torch.autograd.grad(sum(expected[name]), outputs))


def assert_equal_losses(found, expected, inputs) -> None:
    """Values and gradients, to 1e-9."""
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    gradients = [torch.autograd.grad(loss, inputs[:2], retain_graph=True) for loss in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("weight", [1.0, 0.2])
def test_ap_loss_with_l1_is_a_point_of_the_family(weight):
    inputs = candidates()
    point = objective("parameterized_ap", error_driven=True, l1_weight=1.0, weight=weight)
    rival = losses_of(objective("ap_l1", weight=weight), inputs=inputs)
    assert_equal_losses(losses_of(point, inputs=inputs)["loss_rank"], sum(rival.values()), inputs)


@pytest.mark.parametrize("scale", [1.0, PRESETS["retinanet"].heads["bbox_head"].gradient_scale])
@pytest.mark.parametrize("quality", ["giou", "iou", "l1"])
def test_without_extensions_it_is_the_published_formula(quality, scale):
    logits, deltas, delta_targets = inputs = candidates()
    targets, positives = entries(logits)
    flat = logits.flatten()
    own = box_quality(boxes(scale_gradient(deltas, scale)), boxes(delta_targets), quality)
    spread = torch.zeros_like(flat).index_put((positives,), own)
    published = parameterized_ap_loss(flat, spread, targets, torch.tensor(POINTS, dtype=torch.float64))
    found = losses_of(objective("parameterized_ap", quality=quality, gradient_scale=scale), inputs=inputs)
    assert_equal_losses(found["loss_rank"], published, inputs)


@pytest.mark.parametrize("quality", ["giou", "iou", "l1"])
@pytest.mark.parametrize("error_driven", [False, True], ids=["functions", "error-driven"])
def test_box_terms_are_means_over_positives_whatever_measures_quality(quality, error_driven):
    _, deltas, delta_targets = inputs = candidates()
    giou = 2 * box_quality(boxes(deltas), boxes(delta_targets), "giou") - 1
    distance = (deltas - delta_targets)[POSITIVES].abs().sum(dim=1)
    same = {"quality": quality, "error_driven": error_driven}
    plain, extended = (
        losses_of(objective("parameterized_ap", **same, **weights), inputs=inputs)["loss_rank"]
        for weights in ({}, {"l1_weight": 3.0, "giou_weight": 0.5})
    )
    assert_equal_losses(extended, plain + 3 * distance.mean() + 0.5 * (1 - giou).mean(), inputs)


@pytest.mark.parametrize("name", NAMES)
def test_boxes_of_the_positive_class_count_where_each_class_has_its_own(name):
    logits, deltas, delta_targets = candidates(class_boxes=True)
    losses = losses_of(objective(name), inputs=(logits, deltas, delta_targets))
    own = torch.stack([deltas[one, min(int(LABELS[one]), CLASSES - 1)] for one in range(8)])
    torch.testing.assert_close(losses, losses_of(objective(name), inputs=(logits, own, delta_targets)))
    sum(losses.values()).backward()
    moved = deltas.grad.any(dim=2).nonzero().tolist()
    assert moved == [[one, int(LABELS[one])] for one in POSITIVES]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weight", [1.0, 0.0], ids=["negatives", "ignored"])
def test_without_a_positive_all_losses_are_0_with_a_graph(name, weight):
    inputs = candidates()
    nothing = torch.full_like(LABELS, BACKGROUND)
    losses = losses_of(objective(name), nothing, torch.full_like(WEIGHTS, weight), inputs=inputs)
    assert {part: loss.item() for part, loss in losses.items()} == dict.fromkeys(OBJECTIVES[name].loss.parts, 0)
    for loss in losses.values():
        gradients = torch.autograd.grad(loss, inputs[:2], retain_graph=True)
        assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shift", [0.0, 1e3], ids=["overlapping", "far away"])
def test_one_positive_gives_finite_gradients_wherever_its_box_is(name, shift):
    logits, deltas, delta_targets = candidates()
    labels = torch.full_like(LABELS, BACKGROUND).index_fill(0, torch.tensor([2]), 1)
    losses = losses_of(objective(name), labels, inputs=(logits, deltas + shift, delta_targets))
    gradients = torch.autograd.grad(sum(losses.values()), (logits, deltas))
    assert all(loss.isfinite() for loss in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[0][2, 1] < 0


def test_a_positive_whose_iou_is_0_is_still_a_positive():
    logits, deltas, delta_targets = candidates()
    losses = losses_of(objective("rank_sort"), inputs=(logits, deltas + 1e3, delta_targets))
    (gradient,) = torch.autograd.grad(losses["loss_rank"], logits)
    assert all(gradient[one, LABELS[one]] < 0 for one in POSITIVES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("which", [0, 1], ids=["logits", "deltas"])
def test_outputs_that_are_not_finite_give_nan_with_a_graph(name, bad, which):
    inputs = candidates()
    with torch.no_grad():
        inputs[which][1, 0] = bad
    losses = losses_of(objective(name), inputs=inputs)
    assert all(loss.isnan() for loss in losses.values())
    sum(losses.values()).backward()
    assert inputs[0].grad.isnan().all()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_scale_and_weight(name):
    inputs = candidates()
    plain, scaled = (
        losses_of(objective(name), inputs=inputs),
        losses_of(objective(name, gradient_scale=4.0, weight=0.2), inputs=inputs),
    )
    torch.testing.assert_close(scaled, {part: 0.2 * loss for part, loss in plain.items()})
    at_plain = torch.autograd.grad(sum(plain.values()), inputs[:2])
    at_scaled = torch.autograd.grad(sum(scaled.values()), inputs[:2])
    torch.testing.assert_close(at_scaled, (0.2 * at_plain[0], 0.8 * at_plain[1]))


def test_the_distance_is_a_mean_over_positives_also_where_there_is_one():
    logits, deltas, delta_targets = candidates()
    labels = torch.full_like(LABELS, BACKGROUND).index_fill(0, torch.tensor([2]), 1)
    losses = losses_of(objective("ap_l1"), labels, inputs=(logits, deltas, delta_targets))
    torch.testing.assert_close(losses["loss_bbox"], (deltas[2] - delta_targets[2]).abs().sum())


def test_alrp_counts_boxes_from_the_iou_of_positives():
    inputs = candidates()
    half, strict = (losses_of(objective("alrp", positive_iou=iou), inputs=inputs) for iou in (0.5, 0.7))
    torch.testing.assert_close(strict["loss_bbox"], half["loss_bbox"] / 0.6)


@pytest.mark.parametrize("name", NAMES)
def test_constants_follow_the_objective_to_another_device_and_are_not_in_the_state(name):
    moved = objective(name).to("meta")
    constants = {"control_points"} if name == "parameterized_ap" else set()
    assert {own for own, buffer in moved.named_buffers() if buffer.is_meta and "alrp" not in own} == constants
    assert not constants & set(moved.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_of_half_precision_leaves_constants_and_balance_whole(name):
    cast, whole = (dict(one.named_buffers()) for one in (objective(name).bfloat16(), objective(name)))
    torch.testing.assert_close(cast, whole, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_losses_are_those_of_the_same_outputs_in_single_precision(name, dtype):
    halves = [tensor.detach().to(dtype).requires_grad_(tensor.requires_grad) for tensor in candidates()]
    singles = [tensor.detach().float().requires_grad_(tensor.requires_grad) for tensor in halves]
    with torch.autocast("cpu", dtype):
        losses = losses_of(objective(name), inputs=halves)
        sum(losses.values()).backward()
    expected = losses_of(objective(name), inputs=singles)
    sum(expected.values()).backward()
    assert losses == expected
    assert all(torch.equal(half.grad, single.grad.to(dtype)) for half, single in zip(halves[:2], singles, strict=False))


def test_each_device_ranks_its_own_entries_unless_it_is_told_to_gather_them():
    assert objective("ap_l1").gather_scores is False


def test_the_balance_of_alrp_is_in_the_state_and_follows_the_epochs():
    alrp = objective("alrp")
    losses_of(alrp, inputs=candidates())
    assert set(alrp.state_dict()) == {"alrp.box_weight", "alrp.epoch_sums"}
    classification, regression = alrp.alrp.epoch_sums.tolist()
    alrp.alrp.end_epoch()
    assert alrp.alrp.box_weight.item() == pytest.approx((classification + regression) / regression)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "focal_l1"}, r"name: expected one of parameterized_ap, .*, got 'focal_l1'"),
        ({"name": "parameterized_ap"}, "control_points: expected for parameterized_ap"),
        ({"name": "alrp", "control_points": POINTS}, "control_points: .* got 'alrp'"),
        ({"name": "handmade_ap"}, "form: expected for handmade_ap"),
    ],
)
def test_parameters_that_do_not_fit_the_name_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        RankingObjective(**given)
