"""The exported module against the project's own loss, and what cannot be exported."""

import ast
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from paploss.jobs.losses import FocalL1, HeadLoss, LossSpec, ParameterizedAP
from paploss.jobs.presets import PRESETS, identity
from paploss.losses import ap_loss, parameterized_ap_loss
from paploss.trainer.errors import UserError
from paploss.trainer.heads.objective import RankingObjective
from paploss.trainer.heads.quality import DeltaCorners, box_quality
from paploss.trainer.standalone import render_module, write_module

DEGENERATE = {
    "jump at 0": [(0.0, 0.5), (0.5, 0.5)],
    "jumps at 0 and 1": [(0.0, 0.3), (1.0, 0.6)],
    "several jumps at 1": [(0.5, 0.1), (1.0, 0.2), (1.0, 0.4), (1.0, 0.9)],
    "jump in the middle": [(0.5, 0.0), (0.5, 1.0)],
    "zero until 1": [(0.2, 0.0), (0.9, 0.0), (1.0, 0.0)],
    "one from 0": [(0.0, 1.0), (0.3, 1.0)],
    "narrower than a jump": [(0.4, 0.2), (0.4 + 5e-8, 0.7)],
    "wider than a jump": [(0.4, 0.2), (0.4 + 1.5e-7, 0.7)],
    "vanishing denominator": [(0.6, 0.0), (0.8, 0.5)],
}


def load(loss: LossSpec, folder: Path) -> dict[str, Any]:
    """What a program gets that runs the exported file."""
    write_module(loss, "from a test", folder / "exported.py")
    return runpy.run_path(str(folder / "exported.py"))


def loss_of(*rows: list[tuple[float, float]]) -> LossSpec:
    points = tuple(((0.0, 0.0), *row, (1.0, 1.0)) for row in rows)
    return ParameterizedAP(heads={"bbox_head": HeadLoss(control_points=points)})


def entries(seed: int = 0, count: int = 400, positives: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.zeros(count, dtype=torch.int64)
    targets[:positives], targets[-count // 10 :] = 1, -1
    logits = torch.randn(count, generator=generator, dtype=torch.float64) + (targets == 1)
    return logits, torch.rand(count, generator=generator, dtype=torch.float64), targets


def assert_equal_to_ours(
    module: dict[str, Any], loss: LossSpec, logits: Tensor, quality: Tensor, targets: Tensor, *, head: str = "bbox_head"
) -> None:
    points = torch.tensor(loss.heads[head].control_points, dtype=torch.float64)
    exported = module["ParameterizedAPLoss"](head)
    results = []
    for compute in (exported, lambda *tensors: parameterized_ap_loss(*tensors, points)):
        leaves = [tensor.clone().requires_grad_() for tensor in (logits, quality)]
        value = compute(*leaves, targets)
        value.backward()
        results.append([value.detach(), *(leaf.grad for leaf in leaves)])
    for theirs, ours in zip(*results, strict=True):
        assert theirs.dtype == ours.dtype
        torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("preset", PRESETS)
def test_values_and_gradients_equal_ours_in_every_head(preset, tmp_path):
    loss = PRESETS[preset]
    module = load(loss, tmp_path)
    assert module["HEADS"].keys() == loss.heads.keys()
    for head, parameters in loss.heads.items():
        assert module["HEADS"][head][:2] == (parameters.quality, parameters.gradient_scale)
        assert_equal_to_ours(module, loss, *entries(), head=head)
        logits, quality, targets = entries(seed=1, count=3000, positives=300)
        assert_equal_to_ours(module, loss, (4 * logits).round() / 4, (4 * quality).round() / 4, targets, head=head)


@pytest.mark.parametrize("interior", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_functions_and_ties_equal_ours(interior, tmp_path):
    loss = loss_of(*[interior] * 5)
    module = load(loss, tmp_path)
    logits, quality, targets = entries()
    assert_equal_to_ours(module, loss, logits, quality, targets)
    assert_equal_to_ours(module, loss, (2 * logits).round() / 2, quality.round(), targets)


def test_extreme_entries_equal_ours(tmp_path):
    loss = identity(["bbox_head"])
    module = load(loss, tmp_path)
    assert not module["ParameterizedAPLoss"]("bbox_head").state_dict()
    assert_equal_to_ours(module, loss, *entries(count=50, positives=1))
    logits, quality, targets = entries()
    for given in (torch.zeros_like(targets), torch.full_like(targets, -1), torch.ones_like(targets)):
        assert_equal_to_ours(module, loss, logits, quality, given)
    assert_equal_to_ours(module, loss, logits[:0], quality[:0], targets[:0])
    logits[targets == 0] = torch.tensor([torch.inf, -torch.inf] * 200, dtype=torch.float64)[: int((targets == 0).sum())]
    assert_equal_to_ours(module, loss, logits, quality, targets)
    assert_equal_to_ours(module, loss, logits.float(), quality.float(), targets)


def results_of(loss: Tensor, *leaves: Tensor) -> list[Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def extended(**extensions: float) -> LossSpec:
    head = PRESETS["retinanet"].heads["bbox_head"].model_copy(update=extensions)
    return ParameterizedAP(heads={"bbox_head": head})


EXTREME = torch.tensor([-torch.inf, 30.0, -30.0], dtype=torch.float64)


@pytest.mark.parametrize("positives", [1, 40, 360])
@pytest.mark.parametrize("step", [None, 0.5], ids=["distinct", "ties"])
def test_an_error_driven_head_ranks_as_our_ap_loss(positives, step, tmp_path):
    module = load(extended(error_driven=True), tmp_path)
    logits, quality, targets = entries(seed=positives, positives=positives)
    if step is not None:
        logits = (logits / step).round() * step
    negatives = (targets == 0).nonzero()[:3, 0]
    logits[negatives] = EXTREME[: len(negatives)]
    logits.requires_grad_()
    found = results_of(module["ParameterizedAPLoss"]("bbox_head")(logits, quality, targets), logits)
    torch.testing.assert_close(found, results_of(ap_loss(logits, targets), logits), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("target", [0, -1])
def test_an_error_driven_head_without_a_positive_gives_0(target, tmp_path):
    loss = load(extended(error_driven=True), tmp_path)["ParameterizedAPLoss"]("bbox_head")
    logits = torch.randn(5, requires_grad=True)
    value, gradient = results_of(loss(logits, torch.rand(5), torch.full((5,), target)), logits)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("positives", [0, 3])
def test_box_terms_are_those_of_our_objective(positives, tmp_path):
    loss = extended(l1_weight=3.0, giou_weight=0.5, error_driven=True)
    module = load(loss, tmp_path)
    assert module["EXTENSIONS"] == {"bbox_head": {"l1_weight": 3.0, "giou_weight": 0.5, "error_driven": True}}
    boxes = torch.rand(4, 4, dtype=torch.float64, requires_grad=True)
    targets, labels = torch.rand(4, 4, dtype=torch.float64), (torch.arange(4) >= positives).long()
    logits, weights = torch.randn(4, 1, dtype=torch.float64), torch.ones(4)
    objective = RankingObjective(loss.name, **loss.heads["bbox_head"].model_dump())
    corners = DeltaCorners((0.0,) * 4, (1.0,) * 4)
    ours = objective.losses_of(logits, labels, weights, boxes, targets, corners=corners)["loss_rank"]
    own = module["scale_gradient"](boxes, module["HEADS"]["bbox_head"][1])[:positives]
    giou = 2 * box_quality(corners(own), corners(targets[:positives]), "giou") - 1
    ranking = module["ParameterizedAPLoss"]("bbox_head")(logits[:, 0], torch.rand(4).double(), 1 - labels)
    theirs = ranking + module["box_terms"]("bbox_head", own - targets[:positives], giou) + 0 * boxes.sum()
    torch.testing.assert_close(results_of(theirs, boxes), results_of(ours, boxes), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("quality", ["giou", "iou", "l1"])
@pytest.mark.parametrize("extensions", [{}, {"l1_weight": 3.0, "giou_weight": 0.5}], ids=["published", "extended"])
@pytest.mark.parametrize("positives", [0, 5])
def test_a_heads_whole_loss_is_that_of_our_objective(quality, extensions, positives, tmp_path):
    loss = extended(quality=quality, gradient_scale=0.3, **extensions)
    module = load(loss, tmp_path)
    generator = torch.Generator().manual_seed(0)
    candidates, classes = 12, 3
    logits, boxes, box_targets = (
        torch.randn(candidates, columns, dtype=torch.float64, generator=generator) for columns in (classes, 4, 4)
    )
    logits.requires_grad_()
    boxes.requires_grad_()
    labels = torch.full((candidates,), classes)
    labels[:positives] = torch.arange(positives) % classes
    ignored = torch.arange(candidates) >= candidates - 2
    objective = RankingObjective(loss.name, **loss.heads["bbox_head"].model_dump())
    corners = DeltaCorners((0.0,) * 4, (0.1, 0.1, 0.2, 0.2))
    ours = objective.losses_of(logits, labels, (~ignored).float(), boxes, box_targets, corners=corners)["loss_rank"]
    theirs = module["HeadLoss"]("bbox_head")(logits, labels.masked_fill(ignored, -1), boxes, box_targets, corners)
    expected = results_of(ours, logits, boxes)
    torch.testing.assert_close(results_of(theirs, logits, boxes), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_a_model_of_half_precision_the_functions_stay_whole(dtype, tmp_path):
    module = load(PRESETS["faster-rcnn"], tmp_path)
    whole, cast = (module["ParameterizedAPLoss"]("rpn_head").to(one) for one in (torch.float64, dtype))
    assert cast(*entries()) == whole(*entries())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_loss_that_was_not_moved_follows_its_input_to_a_gpu(tmp_path):
    loss = load(PRESETS["retinanet"], tmp_path)["ParameterizedAPLoss"]("bbox_head")  # as in transformers' closure
    moved = loss(*(tensor.cuda() for tensor in entries()))
    torch.testing.assert_close(moved.cpu(), loss(*entries()))


def test_a_published_head_has_no_box_terms(tmp_path):
    module = load(PRESETS["retinanet"], tmp_path)
    assert module["EXTENSIONS"] == {}
    assert module["box_terms"]("bbox_head", torch.ones(2, 4), torch.zeros(2)) == 0


def test_the_gradient_of_the_box_output_is_scaled(tmp_path):
    module = load(identity(["bbox_head"]), tmp_path)
    output = torch.tensor([1.0, -2.0], requires_grad=True)
    scaled = module["scale_gradient"](output, 3.0)
    scaled.sum().backward()
    assert scaled.tolist() == [1.0, -2.0]
    assert output.grad is not None
    assert output.grad.tolist() == [3.0, 3.0]


def test_shapes_that_differ_are_refused(tmp_path):
    module = load(identity(["bbox_head"]), tmp_path)
    with pytest.raises(ValueError, match=r"expected one shape \[N\]"):
        module["ParameterizedAPLoss"]("bbox_head")(torch.zeros(3), torch.zeros(3), torch.zeros(2))


@pytest.mark.parametrize(
    "origin", ["search 7, AP 24.5", 'a name with """ in it', "back\\slash and\nlines", "größer", ""]
)
def test_the_module_is_short_and_imports_torch_alone(origin):
    text = render_module(PRESETS["faster-rcnn"], origin)
    assert len(text.splitlines()) < 200
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported == {"collections", "torch"}
    assert text.isascii()


def test_other_losses_are_refused():
    with pytest.raises(UserError, match="expected parameterized_ap"):
        render_module(FocalL1(), "")
    with pytest.raises(UserError, match="expected 5 functions, got 4"):
        render_module(loss_of(*[[(0.5, 0.5)]] * 4), "")
    with pytest.raises(UserError, match=r"loss\.top_k: expected none, the module ranks among all entries, got 9"):
        render_module(PRESETS["retinanet"].model_copy(update={"top_k": 9}), "")


def test_the_command_takes_a_file_with_a_loss_and_loads_no_torch(tmp_path):
    file, output = tmp_path / "found.json", tmp_path / "found.py"
    file.write_text(json.dumps({"loss": PRESETS["retinanet"].model_dump(mode="json")}))
    check = "import sys, paploss.trainer.commands as c; c.main(); sys.exit('torch' in sys.modules)"
    arguments = ["module", str(file), "--origin", "search 7", "--output", str(output)]
    done = subprocess.run([sys.executable, "-c", check, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "search 7" in ast.get_docstring(ast.parse(output.read_text()))


def test_the_command_names_a_file_without_a_loss(tmp_path):
    (tmp_path / "found.json").write_text("[]")
    command = [sys.executable, "-m", "paploss.trainer", "module", str(tmp_path / "found.json"), "--output", "x.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "found.json: expected a key 'loss'" in done.stderr
